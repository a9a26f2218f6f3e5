package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strconv"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

const mqtt311 = 4

// options describe one connection. paho's own way to reconnect is off: it would publish what it has kept before the
// subscriptions are in force again.
func (l *Link) options(lost func(error)) *mqtt.ClientOptions {
	e := l.environment
	address := net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
	keepAlive := time.Duration(e.KeepAlive) * time.Second
	options := mqtt.NewClientOptions().
		AddBroker("tcp://"+address).
		SetClientID(e.ClientID).
		SetUsername(e.Username).
		SetPassword(e.Password).
		SetCleanSession(true).
		SetProtocolVersion(mqtt311). // otherwise a refused attempt is followed by one in MQTT 3.1
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetConnectTimeout(connectWithin).
		SetWriteTimeout(connectWithin).
		SetKeepAlive(keepAlive).
		SetPingTimeout(keepAlive/2). // a half-open connection is noticed within twice the keep-alive (I2M-STATUS-09)
		SetOrderMatters(true).
		SetDefaultPublishHandler(l.receive).
		SetWill(l.topic("status"), "offline", 1, true).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost(err) })
	// paho's own dialler would go through a proxy that the environment names (I2M-ENV-02).
	return options.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		return dial(address, e.TLS)
	})
}

func dial(address string, secure *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectWithin)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil || secure == nil {
		return conn, err
	}
	wrapped := tls.Client(conn, secure)
	if err := wrapped.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return wrapped, nil
}

// reason is what a person can do something about (I2M-LIFE-04).
func reason(err error) string {
	if errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword) || errors.Is(err, packets.ErrorRefusedNotAuthorised) {
		return "the credentials are refused (not authorized): see MQTT_USERNAME and MQTT_PASSWORD"
	}
	if err == nil {
		return "it was closed"
	}
	return err.Error()
}
