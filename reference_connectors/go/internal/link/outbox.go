package link

import (
	"slices"
	"sync"
)

const (
	mostKept = 1_000
	window   = 100 // messages that may be under way at once, lest a slow broker let memory grow without end
)

// outbox holds messages in the order in which they were made: those to be sent, and those that are sent and not yet
// acknowledged. It outlives the connection.
type outbox struct {
	mutex    sync.Mutex
	messages []*Message
	underWay int
	news     chan struct{} // holds one where there is something to send
	online   bool
	dropped  func(*Message)
}

func newOutbox(dropped func(*Message)) *outbox {
	return &outbox{news: make(chan struct{}, 1), dropped: dropped}
}

// add takes a message; one that is not worth keeping is forgotten where the broker is away.
func (o *outbox) add(message *Message) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if !o.online && !message.Keep {
		return
	}
	if message.Latest {
		o.messages = slices.DeleteFunc(o.messages, func(older *Message) bool {
			whole := older
			if older.With != nil {
				whole = older.With
			}
			return whole.Latest && !whole.sent && whole.Suffix == message.Suffix
		})
	}
	o.messages = append(o.messages, message)
	if len(o.messages) > mostKept {
		o.dropped(o.messages[0])
		o.messages = o.messages[1:]
	}
	o.ring()
}

// next returns what is to be sent now, nil where that is nothing or too much is under way already.
func (o *outbox) next() *Message {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if o.underWay >= window {
		return nil
	}
	for _, message := range o.messages {
		if !message.sent {
			message.sent = true
			o.underWay++
			return message
		}
	}
	return nil
}

// delivered forgets a message that the broker has.
func (o *outbox) delivered(message *Message) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.underWay = max(o.underWay-1, 0)
	o.ring()
	if index := slices.Index(o.messages, message); index >= 0 {
		o.messages = slices.Delete(o.messages, index, index+1)
	}
}

// begin lets a connection send what the one before it could not.
func (o *outbox) begin() {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.online = true
	o.underWay = 0
	o.ring()
}

// end keeps what was not acknowledged, as far as it is worth keeping.
func (o *outbox) end() {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.online = false
	o.messages = slices.DeleteFunc(o.messages, func(message *Message) bool { return !message.Keep })
	for _, message := range o.messages {
		message.sent = false
	}
}

func (o *outbox) isOnline() bool {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.online
}

func (o *outbox) ring() {
	select {
	case o.news <- struct{}{}:
	default:
	}
}
