package link

import (
	"fmt"
	"testing"
)

func sent(o *outbox) []string {
	var found []string
	for message := o.next(); message != nil; message = o.next() {
		found = append(found, message.Suffix+" "+message.Text)
	}
	return found
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, not %q", got, want)
	}
}

func TestWhatIsWorthKeepingIsSentAgainAfterAReconnectionInItsOrder(t *testing.T) {
	o := newOutbox(nil)
	answer := &Message{Suffix: "answer", Keep: true}
	o.add(&Message{Suffix: "lost"})
	o.add(answer)
	o.begin()
	o.add(&Message{Suffix: "state"})
	o.add(&Message{Suffix: "event", Keep: true})
	expect(t, sent(o), "answer ", "state ", "event ")
	o.delivered(answer)
	o.end()
	o.begin()
	expect(t, sent(o), "event ")
}

func TestALaterStateTakesThePlaceOfOneThatWasNotSentInTime(t *testing.T) {
	o := newOutbox(nil)
	o.begin()
	o.add(&Message{Suffix: "a", Text: "1", Latest: true})
	expect(t, sent(o), "a 1")
	for _, text := range []string{"2", "3"} {
		o.add(&Message{Suffix: "a", Text: text, Latest: true})
		o.add(&Message{Suffix: "a", Text: "part"})
	}
	expect(t, sent(o), "a part", "a 3", "a part")
}

func TestAPropertyIsSentWhereItsStateIsAndNowhereElse(t *testing.T) {
	o := newOutbox(nil)
	o.begin()
	add := func(text string) {
		state := &Message{Suffix: "state", Text: text, Latest: true}
		o.add(state)
		o.add(&Message{Suffix: "state/power", Text: text, With: state})
	}
	add("1")
	if first := o.next(); first.Suffix != "state" {
		t.Errorf("%s is sent first", first.Suffix)
	}
	add("2")
	o.add(&Message{Suffix: "state", Text: "3", Latest: true})
	expect(t, sent(o), "state/power 1", "state 3")
}

func TestNoMoreIsUnderWayThanTheWindowAllows(t *testing.T) {
	o := newOutbox(nil)
	o.begin()
	var messages []*Message
	for range window + 10 {
		messages = append(messages, &Message{Suffix: "event", Keep: true})
		o.add(messages[len(messages)-1])
	}
	if got := len(sent(o)); got != window {
		t.Errorf("%d are under way", got)
	}
	o.delivered(messages[0])
	if got := len(sent(o)); got != 1 {
		t.Errorf("%d were sent where there was room for one", got)
	}
}

func TestTheOldestIsDroppedWhereTooMuchIsKept(t *testing.T) {
	dropped := ""
	o := newOutbox(func(message *Message) { dropped += message.Suffix })
	for number := range mostKept + 1 {
		o.add(&Message{Suffix: fmt.Sprint(number), Keep: true})
	}
	if dropped != "0" || len(o.messages) != mostKept {
		t.Errorf("%q is dropped, %d are kept", dropped, len(o.messages))
	}
}
