//go:build !darwin

package gateway

const localNetworkHint = "" // no permission is needed here
