package orders

import (
	"fmt"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestTimesAreReadWithTheirOffsetAndAsUTCWithoutOne(t *testing.T) {
	for _, text := range []string{
		"2026-03-01T12:00:00Z", "2026-03-01 12:00", "2026-03-01T12:00:00.000000", "2026-03-01T17:30:00+05:30",
		"2026-03-01T08:30:00-0330", "2026-03-01T13:00+01",
	} {
		if moment, ok := Moment(text); !ok || !moment.Equal(now) {
			t.Errorf("%s: %v, %v", text, moment, ok)
		}
	}
	for _, text := range []string{"yesterday", "2026", "2026-02-31T12:00:00Z", "2026-03-01T25:00:00Z", ""} {
		if moment, ok := Moment(text); ok {
			t.Errorf("%s: %v", text, moment)
		}
	}
}

func TestCommandsAreRefusedWithTheCodeOfTheirFault(t *testing.T) {
	stamped := func(age time.Duration) string {
		return fmt.Sprintf(`{"id": "a", "values": {"relay": true}, "timestamp": %q}`, now.Add(-age).Format(time.RFC3339))
	}
	for payload, code := range map[string]string{
		stamped(29 * time.Second):                                    "",
		stamped(31 * time.Second):                                    "stale_command",
		`{"id": "a", "values": {"relay": true}, "timeout": null}`:    "",
		`{"id": "a", "values": {"relay": true}, "timestamp": 1e400}`: "invalid_command",
		`{"id": "a", "values": {"relay": true}, "timeout": 0}`:       "invalid_command",
		`{"id": "a", "values": {"relay": true}, "timeout": 1.5}`:     "invalid_command",
		`{"id": "a", "values": {}}`:                                  "invalid_command",
		`{"id": "a", "VALUES": {"relay": true}}`:                     "invalid_command",
		`{"id": 5, "values": {"relay": true}}`:                       "invalid_command",
		"[]":                                                         "invalid_command",
		"\"\xff\"":                                                   "invalid_command",
		`{"values": {"relay": true}}x`:                               "invalid_command",
	} {
		_, refusal := Parse([]byte(payload), now)
		if got := refusal; (got == nil) != (code == "") || (got != nil && got.Code != code) {
			t.Errorf("%s: %v, not %q", payload, got, code)
		}
	}
}

func TestAnIDIsRememberedForFiveMinutes(t *testing.T) {
	var seen Seen
	for _, step := range []struct {
		after time.Duration
		want  bool
	}{{0, false}, {299 * time.Second, true}, {301 * time.Second, false}} {
		if got := seen.Repeats("a", now.Add(step.after)); got != step.want {
			t.Errorf("after %v: %v", step.after, got)
		}
	}
}
