package resource

// The lists that ask for a resource.
const (
	FromUser      = "user"      // the user's settings
	FromWorkspace = "workspace" // the settings of the workspace
	FromFile      = "file"      // a file named on the command line, which is the approval
)

// Approved is a resource that the remote may reach.
type Approved struct {
	Resource Resource
	From     string // FromUser, FromWorkspace or FromFile
}
