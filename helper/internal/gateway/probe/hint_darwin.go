package probe

// localNetworkHint explains why macOS refuses a host of the local network.
const localNetworkHint = "macOS may not allow it: System Settings, Privacy & Security, Local Network must be on for the editor (or the terminal) that started Causeway. Restart it afterwards."
