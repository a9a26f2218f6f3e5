package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// Secrets returns the KEY=VALUE lines of a file in the folder of secrets; none where there is no file (I2M-ENV-14).
func (e *Environment) Secrets(ending string) (map[string]string, error) {
	return readPairs(filepath.Join(e.secrets, e.Instance+ending), false)
}

// readPairs returns the KEY=VALUE lines of a file. Only where values may be quoted are blanks around them left out.
func readPairs(file string, quoted bool) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: let the connector's user read it", err)
	}
	pairs := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, found := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		key = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(key), "export "))
		if !found || key == "" || strings.HasPrefix(key, "#") {
			continue
		}
		if quoted {
			value = unquoted(strings.TrimSpace(value))
		}
		pairs[key] = value
	}
	return pairs, nil
}

func unquoted(text string) string {
	if len(text) > 1 && (text[0] == '"' || text[0] == '\'') && text[len(text)-1] == text[0] {
		return text[1 : len(text)-1]
	}
	return text
}

// IsName says whether a text is one level of a topic: not empty, without /, +, # and control characters (I2M-PUB-04).
func IsName(text string) bool {
	return text != "" && !strings.ContainsAny(text, "/+#") && !strings.ContainsFunc(text, unicode.IsControl)
}
