// Package orders judges commands as they arrive: their form, their age, and whether they were seen before.
package orders

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

const (
	staleAfter     = 30 * time.Second
	usualTimeout   = 10 * time.Second
	longestTimeout = math.MaxInt32 // milliseconds
	longestID      = 1_000
)

// Refusal says why a command is not carried out: a code of I2M-CMD-05, and a sentence.
type Refusal struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retriable bool   `json:"retriable"`
}

func (r *Refusal) Error() string { return r.Message }

// Refuse returns a refusal that trying again does not change.
func Refuse(code, format string, words ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, words...)}
}

// TooLate refuses a command whose time is up (I2M-CMD-14).
func TooLate() *Refusal {
	return &Refusal{Code: "timeout", Message: "the device did not answer in time", Retriable: true}
}

// Command is what one asks for. It can be answered where it has an ID.
type Command struct {
	ID     *string
	Values map[string]any
	Limit  time.Duration // how long it may take
}

// Fields returns the members of a JSON object, by their exact names; false where the payload is none.
func Fields(payload []byte) (map[string]json.RawMessage, bool) {
	var fields map[string]json.RawMessage
	if !utf8.Valid(payload) || json.Unmarshal(payload, &fields) != nil || fields == nil {
		return nil, false
	}
	for name, text := range fields {
		if string(text) == "null" {
			delete(fields, name)
		}
	}
	return fields, true
}

// Parse reads a command. Where it is refused it still has its ID, if that can be read; without, nobody is answered.
func Parse(payload []byte, now time.Time) (*Command, *Refusal) {
	command := &Command{Limit: usualTimeout}
	fields, ok := Fields(payload)
	if !ok {
		return command, Refuse("invalid_command", "a command is a JSON object")
	}
	if text, given := fields["id"]; given {
		var id string
		if json.Unmarshal(text, &id) != nil || len(id) > longestID {
			return command, Refuse("invalid_command", "id must be a text of at most %d bytes", longestID)
		}
		command.ID = &id
	}
	if refusal := checkAge(fields["timestamp"], now); refusal != nil {
		return command, refusal
	}
	if json.Unmarshal(fields["values"], &command.Values) != nil || len(command.Values) == 0 {
		return command, Refuse("invalid_command", "values must be an object that names at least one property")
	}
	if text, given := fields["timeout"]; given {
		var limit int64
		if json.Unmarshal(text, &limit) != nil || limit < 1 || limit > longestTimeout {
			return command, Refuse("invalid_command", "timeout must be a whole number of milliseconds above 0")
		}
		command.Limit = time.Duration(limit) * time.Millisecond
	}
	return command, nil
}

// checkAge: no timestamp is no fault; an old or unreadable one is (I2M-CMD-04, I2M-CMD-06).
func checkAge(text json.RawMessage, now time.Time) *Refusal {
	if text == nil {
		return nil
	}
	var stamp string
	if json.Unmarshal(text, &stamp) != nil {
		return Refuse("invalid_command", "timestamp must be a text")
	}
	moment, ok := Moment(stamp)
	if !ok {
		return Refuse("invalid_command", "timestamp must be an ISO 8601 date and time")
	}
	if age := now.Sub(moment); age > staleAfter {
		refusal := Refuse("stale_command", "the command is %.0f s old, and 30 s are allowed", age.Seconds())
		refusal.Retriable = true
		return refusal
	}
	return nil
}

// Moment reads an ISO 8601 date and time; one without an offset is UTC. time.Parse takes fractions of its own accord.
func Moment(stamp string) (time.Time, bool) {
	for _, between := range []string{"T", " "} {
		for _, clock := range []string{"15:04:05", "15:04"} {
			for _, offset := range []string{"Z07:00", "Z0700", "Z07", ""} {
				if moment, err := time.Parse("2006-01-02"+between+clock+offset, stamp); err == nil {
					return moment, true
				}
			}
		}
	}
	return time.Time{}, false
}
