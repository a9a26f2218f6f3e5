// Package link is the connection to the broker. Each connection is a paho client of its own that never reconnects:
// nothing of an old one, such as a half-sent `online`, can reach into the next. What must survive is in the outbox.
package link

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"meters/internal/settings"
)

const (
	firstPause    = time.Second
	longestPause  = 5 * time.Second
	connectWithin = 10 * time.Second
	farewell      = 3 * time.Second
	refused       = 128
)

var errSubscription = errors.New("the broker refuses a subscription: allow all topics of the instance")

// Listener is told what happens on the link.
type Listener interface {
	// Filters returns what to subscribe to, below the instance.
	Filters() []string
	// OnOnline is called after each time that `online` was said.
	OnOnline()
	// OnArrival is called for one message after another.
	OnArrival(Arrival)
}

// Link publishes and receives for one instance.
type Link struct {
	environment *settings.Environment
	log         *slog.Logger
	outbox      *outbox
	inbox       *inbox
	asked       chan func(mqtt.Client)
}

// New returns a link that Run connects.
func New(environment *settings.Environment, log *slog.Logger) *Link {
	dropped := func(message *Message) {
		log.Warn("the broker is away for too long: a message is dropped", "topic", message.Suffix)
	}
	return &Link{
		environment: environment,
		log:         log,
		outbox:      newOutbox(dropped),
		inbox:       newInbox(),
		asked:       make(chan func(mqtt.Client)),
	}
}

// Publish sends a message now, or later where it is worth keeping.
func (l *Link) Publish(message *Message) { l.outbox.add(message) }

// Online says whether the broker is connected and knows that we are there.
func (l *Link) Online() bool { return l.outbox.isOnline() }

// Run connects again and again until ctx ends; attempts are a second apart, and later more (I2M-LIFE-03, I2M-LIFE-04).
func (l *Link) Run(ctx context.Context, listener Listener) {
	go l.handOver(ctx, listener)
	for pause := firstPause; ; {
		wasOnline, err := l.session(ctx, listener)
		if ctx.Err() != nil {
			return
		}
		l.log.Warn("no connection to the broker", "host", l.environment.Host, "port", l.environment.Port, "reason", reason(err))
		if pause *= 2; wasOnline {
			pause = firstPause
		}
		pause = min(pause, longestPause)
		// Many connectors may have lost the same broker: they must not all come back in the same moment.
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause + rand.N(pause/4)):
		}
	}
}

func (l *Link) handOver(ctx context.Context, listener Listener) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.inbox.news:
			for _, arrival := range l.inbox.take() {
				listener.OnArrival(arrival)
			}
		}
	}
}

// session is one connection, from CONNECT to its end; it returns whether it was online, and why it ended.
func (l *Link) session(ctx context.Context, listener Listener) (bool, error) {
	lost := make(chan error, 1)
	client := mqtt.NewClient(l.options(func(err error) { lost <- err }))
	if err := wait(ctx, client.Connect()); err != nil {
		client.Disconnect(0)
		return false, err
	}
	if err := l.goOnline(ctx, client, listener); err != nil {
		client.Disconnect(0)
		return false, err
	}
	l.outbox.begin()
	l.log.Info("online", "topics", l.environment.Root)
	listener.OnOnline()
	defer l.outbox.end()
	for {
		select {
		case err := <-lost:
			return true, err
		case ask := <-l.asked:
			ask(client)
		case <-l.outbox.news:
			l.send(client)
		case <-ctx.Done():
			l.leave(client)
			return true, nil
		}
	}
}

// goOnline subscribes, and only then says `online` (I2M-STATUS-03, I2M-SUB-06).
func (l *Link) goOnline(ctx context.Context, client mqtt.Client, listener Listener) error {
	filters := map[string]byte{}
	for _, suffix := range listener.Filters() {
		filters[l.topic(suffix)] = 1
	}
	token := client.SubscribeMultiple(filters, nil).(*mqtt.SubscribeToken)
	if err := wait(ctx, token); err != nil {
		return err
	}
	for _, granted := range token.Result() {
		if granted == refused {
			return errSubscription
		}
	}
	// Nothing of our own may come before it; that it has arrived is not waited for.
	client.Publish(l.topic("status"), 1, true, "online")
	return nil
}

func (l *Link) send(client mqtt.Client) {
	for message := l.outbox.next(); message != nil; message = l.outbox.next() {
		l.log.Debug("publishing", "topic", message.Suffix)
		token := client.Publish(l.topic(message.Suffix), message.QoS, message.Retain, message.payload())
		if message.QoS == 0 {
			l.outbox.delivered(message)
			continue
		}
		go func() {
			if <-token.Done(); token.Error() == nil {
				l.outbox.delivered(message)
			}
		}()
	}
}

// leave says what is still to be said and `offline`, waits until the broker has it, and disconnects in order
// (I2M-STATUS-05).
func (l *Link) leave(client mqtt.Client) {
	l.send(client)
	if !client.Publish(l.topic("status"), 1, true, "offline").WaitTimeout(farewell) {
		l.log.Warn("offline was not acknowledged")
	}
	client.Disconnect(uint(farewell.Milliseconds()))
}

// Listen subscribes to topics beyond the required ones for a while.
func (l *Link) Listen(ctx context.Context, suffixes []string, during time.Duration) {
	filters := map[string]byte{}
	topics := []string{}
	for _, suffix := range suffixes {
		filters[l.topic(suffix)] = 0
		topics = append(topics, l.topic(suffix))
	}
	if !l.ask(ctx, func(client mqtt.Client) { client.SubscribeMultiple(filters, nil) }) {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(during):
		l.ask(ctx, func(client mqtt.Client) { client.Unsubscribe(topics...) })
	}
}

func (l *Link) ask(ctx context.Context, what func(mqtt.Client)) bool {
	select {
	case l.asked <- what:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *Link) topic(suffix string) string { return l.environment.Root + "/" + suffix }

func (l *Link) receive(_ mqtt.Client, message mqtt.Message) {
	suffix, ours := strings.CutPrefix(message.Topic(), l.environment.Root+"/")
	if ours {
		l.inbox.put(Arrival{strings.Split(suffix, "/"), message.Payload(), message.Retained()})
	}
}

// wait waits for a token, but no longer than for ctx.
func wait(ctx context.Context, token mqtt.Token) error {
	select {
	case <-token.Done():
		return token.Error()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(connectWithin):
		return errors.New("the broker does not answer")
	}
}
