package netx

// WatchPeerAfter is WatchPeer with another time until the watch begins.
var WatchPeerAfter = watchPeer
