package link

import "sync"

// Arrival is a message that has arrived; its levels are those below the instance.
type Arrival struct {
	Levels   []string
	Payload  []byte
	Retained bool
}

// inbox hands over what arrives, in order. It never blocks who puts something in: paho calls its handler where it also
// reads acknowledgements, and must not be held up there.
type inbox struct {
	mutex   sync.Mutex
	waiting []Arrival
	news    chan struct{}
}

func newInbox() *inbox { return &inbox{news: make(chan struct{}, 1)} }

func (i *inbox) put(arrival Arrival) {
	i.mutex.Lock()
	i.waiting = append(i.waiting, arrival)
	i.mutex.Unlock()
	select {
	case i.news <- struct{}{}:
	default:
	}
}

func (i *inbox) take() []Arrival {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	taken := i.waiting
	i.waiting = nil
	return taken
}
