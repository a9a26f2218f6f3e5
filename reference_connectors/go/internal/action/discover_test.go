package action

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"meters/internal/simulator"
)

// asked runs Discover on a simulated gateway after something was done to it.
func asked(t *testing.T, words ...string) []found {
	t.Helper()
	gateway, err := simulator.Listen(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	if len(words) > 0 {
		if err := simulator.Tell(gateway.Address(), words); err != nil {
			t.Fatal(err)
		}
	}
	_, port, _ := net.SplitHostPort(gateway.Address())
	answer, failure := Discover(Input{"host": json.RawMessage(`"127.0.0.1"`), "port": json.RawMessage(port)})
	if failure != nil {
		t.Fatal(failure)
	}
	return answer.(map[string]any)["meters"].([]found)
}

func TestDiscoverShowsWhatTellsOneMeterFromAnother(t *testing.T) {
	meters := asked(t)
	label := "meter2: 0 kWh, contactor on, limit 5000 W"
	if len(meters) != 3 || meters[1] != (found{Unit: 2, Name: "meter2", Answers: true, Label: label}) {
		t.Fatalf("%+v", meters)
	}
}

func TestDiscoverListsAMeterThatDoesNotAnswerNow(t *testing.T) {
	meters := asked(t, "fail", "meter2")
	if len(meters) != 3 || meters[1].Answers || !strings.Contains(meters[1].Label, "no answer") || !meters[2].Answers {
		t.Fatalf("%+v", meters)
	}
}
