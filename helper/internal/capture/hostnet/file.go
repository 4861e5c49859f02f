package hostnet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	// DefaultPath is the hosts file of this system.
	DefaultPath = "/etc/hosts"
	maxFile     = 32 << 20 // ad blockers make large ones
	lockTime    = 2 * time.Second
)

// update applies edit to the content of path, in place: in a container the file is a
// bind mount, which cannot be replaced by renaming. edit must be idempotent. update
// repeats until edit has nothing to change, and returns the file's state at that
// moment.
func update(path string, edit func([]byte) []byte) (os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Only our own processes take this lock. Every user can hold it, so the wait is
	// bounded.
	lock(f, lockTime)
	for range 4 {
		info, err := f.Stat() // before reading, so that no later change goes unseen
		if err != nil {
			return nil, err
		}
		old, err := readAll(f)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		want := edit(unfill(old))
		if bytes.Equal(old, want) {
			return info, nil
		}
		if err := replace(f, old, want); err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
	}
	return nil, fmt.Errorf("write %s: another program keeps changing it", path)
}

func readAll(f *os.File) ([]byte, error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	return b, err
}

// replace writes from the first difference on, so the text before our block is
// complete at every moment. If a write fails, as on a full disk, replace restores
// the old content.
func replace(f *os.File, old, want []byte) error {
	from := 0
	for from < len(old) && from < len(want) && old[from] == want[from] {
		from++
	}
	err := write(f, fill(want, len(old)), from, len(want))
	if err != nil {
		return errors.Join(err, write(f, old, from, len(old)))
	}
	return nil
}

func write(f *os.File, content []byte, from, size int) error {
	if _, err := f.WriteAt(content[from:], int64(from)); err != nil {
		return err
	}
	return f.Truncate(int64(size))
}

// fillMark begins a filler line, which has no meaning.
const fillMark = "\n#causeway"

// fill lengthens content to size. The file then has no remains of longer old content
// before it is truncated, also if this process is killed at that moment.
func fill(content []byte, size int) []byte {
	gap := size - len(content)
	if gap <= 0 {
		return content
	}
	line := bytes.Repeat([]byte("\n"), gap)
	if gap > len(fillMark) {
		copy(line, fillMark+strings.Repeat("-", gap-len(fillMark)-1))
	}
	return append(slices.Clip(content), line...)
}

// unfill removes the filler of fill.
func unfill(content []byte) []byte {
	for from := 0; ; {
		i := bytes.Index(content[from:], []byte(fillMark))
		if i < 0 {
			return content
		}
		before := content[:from+i]
		from += i + len(fillMark)
		after := bytes.TrimLeft(content[from:], "-")
		if len(after) == 0 || after[0] != '\n' {
			continue // a line of another kind
		}
		after = after[1:] // other programs have written it since
		if len(after) > 0 && len(before) > 0 && before[len(before)-1] != '\n' {
			after = append([]byte("\n"), after...)
		}
		return slices.Concat(before, after)
	}
}

// Cleanup removes the blocks of processes that have ended from the hosts file at
// path. A crash leaves such blocks behind.
func Cleanup(path string) error {
	if _, err := update(path, func(b []byte) []byte { return Clean(b, alive) }); err != nil {
		return fmt.Errorf("clean hosts file: %w", err)
	}
	return nil
}

// CleanupResolv is Cleanup for resolv.conf; see CheckResolv. It does not touch a
// file that another program manages.
func CleanupResolv(path, run string) error {
	if err := CheckResolv(path, run); err != nil {
		if errors.Is(err, ErrManaged) || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("clean %s: %w", path, err)
	}
	if _, err := update(path, func(b []byte) []byte { return CleanResolv(b, alive, asksAllAtOnce("/")) }); err != nil {
		return fmt.Errorf("clean %s: %w", path, err)
	}
	return nil
}
