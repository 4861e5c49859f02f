// Package hostnet changes the network set-up of the remote host for the capture: a
// block of the hosts file, resolv.conf, a TUN device and routes to it. It holds the
// only code that may run with privileges. So it depends on little more than the
// standard library and kernelnet, accepts only requests that it can check, and
// undoes its changes when its caller is gone.
package hostnet

import (
	"bytes"
	"net/netip"
	"strings"
)

// Entry is one line of the hosts file: an address and the names it has.
type Entry struct {
	Address netip.Addr `json:"address"`
	Names   []string   `json:"names"`
}

// Two lines with the id of the writing process delimit a block. Each line of ours in
// it ends with tag, so lines of other programs in the block can be told apart.
const (
	beginMark = "# BEGIN causeway "
	endMark   = "# END causeway "
	tag       = "\t# causeway"
	// joined follows the id if the file did not end with a newline before the block
	// was added.
	joined = " +newline"
)

// Edit returns content with entries as the block of id. The block replaces an
// existing block of id, or goes to the end. If another line has one of the names,
// the block goes before that line, since resolvers take the first line for a name.
// Without entries the block is removed.
// All lines outside that block stay as they are, byte for byte, and so do lines of
// other programs inside it. A block that has no end, or in which another one begins,
// does not count as a block.
func Edit(content []byte, entries []Entry, id string) []byte {
	rest, at, flag := remove(content, func(found string) bool { return found == id })
	if len(entries) == 0 {
		return rest
	}
	if first, names := overruled(rest, entries); len(names) > 0 && first < at {
		at, flag = first, false
	}
	var b bytes.Buffer
	b.Grow(len(rest) + 64*(len(entries)+2))
	b.Write(rest[:at])
	if at > 0 && rest[at-1] != '\n' {
		b.WriteByte('\n')
		flag = true
	}
	b.WriteString(beginMark + id)
	if flag {
		b.WriteString(joined)
	}
	b.WriteByte('\n')
	for _, e := range entries {
		b.WriteString(e.Address.String() + "\t" + strings.Join(e.Names, " ") + tag + "\n")
	}
	b.WriteString(endMark + id + "\n")
	b.Write(rest[at:])
	return b.Bytes()
}

// overruled returns the names of entries to which lines of other programs in content
// give addresses, and the offset at which a block is before all of these lines.
func overruled(content []byte, entries []Entry) (before int, names []string) {
	wanted := make(map[string]bool)
	for _, e := range entries {
		for _, name := range e.Names {
			wanted[name] = true
		}
	}
	offset, block := 0, -1 // of this line, and of the block that it is in
	for line := range bytes.Lines(content) {
		if _, _, ok := marker(line, beginMark); ok {
			block = offset
		} else if _, _, ok := marker(line, endMark); ok {
			block = -1
		}
		for _, name := range namesOf(line) {
			if !wanted[name] {
				continue
			}
			wanted[name] = false
			if len(names) == 0 {
				before = offset
				if block >= 0 {
					before = block
				}
			}
			names = append(names, name)
		}
		offset += len(line)
	}
	return before, names
}

// namesOf returns the names, in lower case, to which a line of another program gives
// an address.
func namesOf(line []byte) []string {
	text, _, _ := strings.Cut(string(line), "#")
	f := strings.Fields(strings.ToLower(text))
	if len(f) < 2 || isOurs(line) {
		return nil
	}
	if _, err := netip.ParseAddr(f[0]); err != nil {
		return nil
	}
	return f[1:]
}

// Clean returns content without the blocks whose id is not alive.
func Clean(content []byte, alive func(id string) bool) []byte {
	rest, _, _ := remove(content, func(id string) bool { return !alive(id) })
	return rest
}

// remove returns content without the complete blocks that match. at is the offset in
// the result at which the first of them was, or the length of the result. flagged
// tells whether the text before at still has the newline that was added for that
// block.
func remove(content []byte, match func(id string) bool) (rest []byte, at int, flagged bool) {
	lines := bytes.SplitAfter(content, []byte("\n"))
	drop := make([]bool, len(lines))
	first, unjoin := -1, -1
	begin, id, flag := -1, "", false
	for i, line := range lines {
		if found, join, ok := marker(line, beginMark); ok {
			begin, id, flag = i, found, join
			continue
		}
		found, _, ok := marker(line, endMark)
		if !ok {
			continue
		}
		if begin >= 0 && found == id && match(id) {
			if first < 0 {
				first, flagged = begin, flag
			}
			if flag {
				unjoin = begin
			}
			drop[begin], drop[i] = true, true
			for j := begin + 1; j < i; j++ {
				drop[j] = isOurs(lines[j])
			}
		}
		begin = -1
	}
	if first < 0 {
		return content, len(content), false
	}
	rest = make([]byte, 0, len(content))
	for i, line := range lines {
		if i == first {
			at = len(rest)
		}
		if i == unjoin && len(bytes.Join(kept(lines[i:], drop[i:]), nil)) == 0 {
			rest = bytes.TrimSuffix(rest, []byte("\n")) // as it was before us
			at, flagged = min(at, len(rest)), false
		}
		if !drop[i] {
			rest = append(rest, line...)
		}
	}
	return rest, at, flagged
}

func kept(lines [][]byte, drop []bool) [][]byte {
	var k [][]byte
	for i, line := range lines {
		if !drop[i] {
			k = append(k, line)
		}
	}
	return k
}

func isOurs(line []byte) bool {
	s := strings.TrimRight(string(line), "\r\n")
	first, _, _ := strings.Cut(s, "\t")
	a, err := netip.ParseAddr(first)
	return err == nil && isNames(a) && strings.HasSuffix(s, tag)
}

// marker reads a line that begins or ends a block.
func marker(line []byte, mark string) (id string, join, ok bool) {
	s, ok := strings.CutPrefix(strings.TrimRight(string(line), " \t\r\n"), mark)
	if !ok {
		return "", false, false
	}
	s, join = strings.CutSuffix(s, joined)
	_, _, err := parseID(s)
	return s, join, err == nil
}
