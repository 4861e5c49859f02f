package peer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Reader reads the messages of one direction of the control stream.
type Reader struct{ s *bufio.Scanner }

// NewReader returns a reader of r. A line longer than MaxMessage ends it.
func NewReader(r io.Reader) *Reader {
	s := bufio.NewScanner(r)
	s.Buffer(nil, MaxMessage)
	return &Reader{s}
}

// Read decodes the next message into v. Fields that v does not have are
// ignored, since the other helper may be newer. At the stream's end it returns io.EOF.
func (r *Reader) Read(v any) error {
	if !r.s.Scan() {
		switch err := r.s.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			return fmt.Errorf("message on the control stream exceeds %d bytes", MaxMessage)
		case err != nil:
			return err
		}
		return io.EOF
	}
	if err := json.Unmarshal(r.s.Bytes(), v); err != nil {
		return fmt.Errorf("parse message on the control stream: %w", err)
	}
	return nil
}

// Write sends one message. Calls must not overlap.
func Write(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) >= MaxMessage {
		return fmt.Errorf("message for the control stream exceeds %d bytes", MaxMessage)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
