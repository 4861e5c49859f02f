package proxy

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// copyBody passes a body on as it is, with the sizes and extensions of its chunks and
// with its trailer. strict is as for readHead.
func copyBody(to *bufio.Writer, from *bufio.Reader, body int64, strict bool) error {
	switch body {
	case chunked:
		return copyChunks(to, from, strict)
	case untilEnd:
		err := copyBytes(to, from, 1<<63-1)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		return err
	}
	return copyBytes(to, from, body)
}

// copyBytes passes n bytes on as they come. If there are fewer, it returns
// io.ErrUnexpectedEOF.
func copyBytes(to *bufio.Writer, from *bufio.Reader, n int64) error {
	for n > 0 {
		if _, err := from.Peek(1); errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		} else if err != nil {
			return err
		}
		b, _ := from.Peek(int(min(n, int64(from.Buffered()))))
		if _, err := to.Write(b); err != nil {
			return err
		}
		_, _ = from.Discard(len(b))
		n -= int64(len(b))
	}
	return nil
}

var errChunk = errors.New("the sizes of its chunks cannot be read")

func copyChunks(to *bufio.Writer, from *bufio.Reader, strict bool) error {
	for {
		line, err := nextLine(from, maxHeader, strict)
		if err != nil {
			return err
		}
		size, _, extended := strings.Cut(strings.TrimRight(line, "\r\n"), ";")
		if extended || !strict {
			size = strings.Trim(size, " \t")
		}
		n, err := parseLength(size, 16)
		if err != nil {
			return errChunk
		}
		_, _ = to.WriteString(line)
		if n == 0 {
			return copyTrailer(to, from, strict)
		}
		if err := copyBytes(to, from, n); err != nil {
			return err
		}
		end, err := nextLine(from, 2, strict)
		if err != nil || strings.TrimRight(end, "\r\n") != "" {
			return errors.Join(errChunk, err)
		}
		if _, err := to.WriteString(end); err != nil {
			return err
		}
	}
}

func copyTrailer(to *bufio.Writer, from *bufio.Reader, strict bool) error {
	for room := maxHeader; ; {
		line, err := nextLine(from, room, strict)
		if err != nil {
			return err
		}
		last := strings.TrimRight(line, "\r\n") == ""
		if _, _, ok := splitField(line); !ok && !last && strict {
			return bad("A line of the trailer is no field.")
		}
		if _, err := to.WriteString(line); err != nil || last {
			return err
		}
		room -= len(line)
	}
}

// nextLine is readLine inside a body.
func nextLine(from *bufio.Reader, limit int, strict bool) (string, error) {
	line, err := readLine(from, limit, strict)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return line, err
}
