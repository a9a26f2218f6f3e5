// Package settings reads what the connector is told: environment, .env, files of secrets, and the instance file.
package settings

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Environment is what the variables of the contract say (I2M-ENV).
type Environment struct {
	Instance      string
	ConnectorType string
	InstanceFile  string
	HealthFile    string
	LogLevel      string

	Host      string
	Port      int
	Username  string
	Password  string
	ClientID  string
	KeepAlive int
	TLS       *tls.Config // nil where it is not wanted

	Root   string // {base}/v1/instances/{instance}
	QoS    byte
	Retain bool

	secrets string // the folder
}

const tlsPort = 8883

// ReadEnvironment reads all variables; those of the process win over the file .env (I2M-ENV-08).
func ReadEnvironment() (*Environment, error) {
	folder := or(os.Getenv("IOT2MQTT_PATH"), "/app")
	file, err := readPairs(filepath.Join(folder, ".env"), true)
	if err != nil {
		return nil, err
	}
	get := func(name, usual string) string {
		if text, ok := os.LookupEnv(name); ok {
			return or(text, usual)
		}
		return or(file[name], usual)
	}
	e := &Environment{
		Instance:      get("INSTANCE_NAME", ""),
		ConnectorType: get("CONNECTOR_TYPE", "go"),
		HealthFile:    get("HEALTH_FILE", ""),
		LogLevel:      get("LOG_LEVEL", "INFO"),
		Host:          get("MQTT_HOST", "localhost"),
		Retain:        !isNo(get("MQTT_RETAIN", "true")),
		secrets:       get("IOT2MQTT_SECRETS_DIR", "/run/secrets"),
	}
	if !IsName(e.Instance) {
		return nil, fmt.Errorf("INSTANCE_NAME is not set to a name: give it the instance to run")
	}
	e.InstanceFile = filepath.Join(folder, "instances", e.Instance+".json")
	e.Root = get("MQTT_BASE_TOPIC", "IoT2mqtt") + "/v1/instances/" + e.Instance
	e.ClientID = get("MQTT_CLIENT_PREFIX", "iot2mqtt") + "_" + e.Instance
	if err := e.readNumbers(get); err != nil {
		return nil, err
	}
	if err := e.readCredentials(get); err != nil {
		return nil, err
	}
	return e, e.readTLS(get)
}

func (e *Environment) readNumbers(get func(name, usual string) string) error {
	qos := 0
	for _, number := range []struct {
		name        string
		usual       string
		least, most int
		into        *int
	}{
		{"MQTT_PORT", "1883", 1, 65535, &e.Port},
		{"MQTT_KEEPALIVE", "60", 0, 65535, &e.KeepAlive},
		{"MQTT_QOS", "1", 0, 2, &qos},
	} {
		text := get(number.name, number.usual)
		value, err := strconv.Atoi(text)
		if err != nil || value < number.least || value > number.most {
			const sentence = "%s is %q: set it to a whole number from %d to %d"
			return fmt.Errorf(sentence, number.name, text, number.least, number.most)
		}
		*number.into = value
	}
	e.QoS = byte(qos)
	return nil
}

// readCredentials takes those of the file of secrets before those of the environment (I2M-ENV-03, I2M-ENV-14).
func (e *Environment) readCredentials(get func(name, usual string) string) error {
	e.Username, e.Password = get("MQTT_USERNAME", ""), get("MQTT_PASSWORD", "")
	secrets, err := e.Secrets("_mqtt")
	if err != nil {
		return err
	}
	if text, ok := secrets["username"]; ok {
		e.Username = text
	}
	if text, ok := secrets["password"]; ok {
		e.Password = text
	}
	if e.Password != "" && e.Username == "" {
		return fmt.Errorf("MQTT_PASSWORD is set without MQTT_USERNAME: set both, or neither")
	}
	return nil
}

// readTLS reads the certificates, where TLS is wanted (I2M-ENV-16).
func (e *Environment) readTLS(get func(name, usual string) string) error {
	if !isYes(get("MQTT_TLS", "")) && e.Port != tlsPort {
		return nil
	}
	e.TLS = &tls.Config{ServerName: e.Host, MinVersion: tls.VersionTLS12}
	if file := get("MQTT_CA_CERTS", ""); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("MQTT_CA_CERTS cannot be read: %w", err)
		}
		e.TLS.RootCAs = x509.NewCertPool()
		if !e.TLS.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("MQTT_CA_CERTS: %s holds no certificate: name a PEM file", file)
		}
	}
	if file := get("MQTT_CERTFILE", ""); file != "" {
		pair, err := tls.LoadX509KeyPair(file, get("MQTT_KEYFILE", file))
		if err != nil {
			return fmt.Errorf("MQTT_CERTFILE and MQTT_KEYFILE cannot be used: %w", err)
		}
		e.TLS.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// Logger returns what logs to stderr from LOG_LEVEL on, in any letter case; what is no level is INFO (I2M-ENV-12).
func (e *Environment) Logger() *slog.Logger {
	levels := map[string]slog.Level{
		"DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo, "WARN": slog.LevelWarn, "WARNING": slog.LevelWarn,
		"ERROR": slog.LevelError, "CRITICAL": slog.LevelError,
	}
	level, known := levels[strings.ToUpper(e.LogLevel)]
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if !known {
		log.Warn("LOG_LEVEL is none of DEBUG, INFO, WARNING, ERROR and CRITICAL: INFO is used")
	}
	return log
}

func or(text, usual string) string {
	if text == "" {
		return usual
	}
	return text
}

func isYes(text string) bool {
	switch strings.ToLower(text) {
	case "true", "1", "yes", "on":
		return true
	}
	return false
}

func isNo(text string) bool {
	switch strings.ToLower(text) {
	case "false", "0", "no", "off":
		return true
	}
	return false
}
