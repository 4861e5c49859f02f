// Package show makes strings fit for a log, a terminal or a view. They come from the
// remote or from servers, which may put anything into them.
package show

import (
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// MaxText bounds what is shown of one string, in bytes.
const MaxText = 300

// Text returns s without control characters, and at most 300 bytes of it.
func Text(s string) string {
	if len(s) <= MaxText {
		return tunnel.Clean(s)
	}
	return strings.TrimSuffix(tunnel.Clean(strings.ToValidUTF8(s[:MaxText], "")), " ") + "…"
}
