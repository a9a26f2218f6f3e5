package link

import (
	"encoding/json"
	"time"
)

// Message is what is to be published on {I}/Suffix.
type Message struct {
	Suffix string
	QoS    byte
	Retain bool
	// Keep it for when the broker is back, and until it is acknowledged (I2M-PUB-06).
	Keep bool
	// Latest of its topic: where the broker is slow, it takes the place of an older one that was not sent in time.
	Latest bool
	// With is the message that this one belongs to: both are sent, or neither is.
	With *Message
	// Text is what is sent as it is; otherwise Body is, with the time at which it is sent (I2M-PUB-03).
	Text string
	Body map[string]any

	sent bool
}

// JSON returns a message that carries any value without a timestamp.
func JSON(suffix string, value any) *Message {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // a value of a kind that JSON does not have: a fault of the program
	}
	return &Message{Suffix: suffix, QoS: 1, Text: string(text)}
}

// Stamped returns a message that carries an object and says when it was sent.
func Stamped(suffix string, body map[string]any) *Message {
	return &Message{Suffix: suffix, QoS: 1, Body: body}
}

// Now is the present time as the contract writes it.
func Now() string { return Time(time.Now()) }

// Time is a time as the contract writes it.
func Time(moment time.Time) string { return moment.UTC().Format("2006-01-02T15:04:05.000Z") }

func (m *Message) payload() string {
	if m.Body == nil {
		return m.Text
	}
	m.Body["timestamp"] = Now()
	text, err := json.Marshal(m.Body)
	if err != nil {
		panic(err)
	}
	return string(text)
}
