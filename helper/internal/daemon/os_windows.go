package daemon

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"
)

// errNobody is what a socket says that nobody listens at.
const errNobody = windows.WSAECONNREFUSED

// bases is the directory in the user's profile, which nobody else may read.
func bases() []string {
	if dir, err := os.UserCacheDir(); err == nil {
		return []string{filepath.Join(dir, "causeway")}
	}
	return nil
}

func networkID() string { return "" }

// checkOwner refuses a directory of somebody else's and makes it this user's
// alone, whatever the one above lets in: to connect to a socket takes the right
// to write to its file, which inherits what is set here.
func checkOwner(dir string, _ fs.FileInfo) error {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("ask who this user is: %w", err)
	}
	is, err := windows.GetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("read the rights of %s: %w", dir, err)
	}
	owner, _, err := is.Owner()
	if err != nil {
		return fmt.Errorf("read the owner of %s: %w", dir, err)
	}
	// What an elevated administrator makes belongs to the group.
	if !owner.Equals(user.User.Sid) && !owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) {
		return fmt.Errorf("%s belongs to %s, not to you: remove it or set %s", dir, owner, DirVariable)
	}
	ours, err := windows.SecurityDescriptorFromString("D:P(A;OICI;FA;;;" + user.User.Sid.String() + ")(A;OICI;FA;;;SY)")
	if err != nil {
		return fmt.Errorf("make the rights of %s: %w", dir, err)
	}
	list, _, err := ours.DACL()
	if err != nil {
		return fmt.Errorf("make the rights of %s: %w", dir, err)
	}
	const what = windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION
	if err := windows.SetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT, what, nil, nil, list, nil); err != nil {
		return fmt.Errorf("set the rights of %s: %w", dir, err)
	}
	return nil
}

// stillRead cannot be told here: the end of stdin counts as a lost connection.
func stillRead(*os.File) bool { return false }

func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP, HideWindow: true}
}
