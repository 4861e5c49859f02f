//go:build !darwin

package probe

const localNetworkHint = "" // no permission is needed here
