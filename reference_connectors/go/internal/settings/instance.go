package settings

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"
)

// Instance is the instance file: which meters behind which gateway, and how often they are read (I2M-ENV-09).
type Instance struct {
	Interval time.Duration
	Address  Connection
	Devices  []Device
	Groups   []Group
}

// Connection says where the gateway is.
type Connection struct {
	Host string
	Port int
}

// Device is one meter; Unit is its address on the bus behind the gateway.
type Device struct {
	ID      string
	Unit    byte
	Model   string
	Enabled bool
}

// Group is a number of devices that take commands together; members may be unknown or disabled.
type Group struct {
	ID      string
	Devices []string
}

// The file as it is written; what may be left out is a pointer.
type document struct {
	Interval   *float64        `json:"update_interval"`
	Connection json.RawMessage `json:"connection"`
	Devices    []struct {
		ID      string `json:"device_id"`
		Unit    *int   `json:"unit"`
		Model   string `json:"model"`
		Enabled *bool  `json:"enabled"`
	} `json:"devices"`
	Groups []struct {
		ID      string   `json:"group_id"`
		Devices []string `json:"devices"`
	} `json:"groups"`
}

const (
	usualInterval   = 10.0
	longestInterval = 86_400.0
	highestUnit     = 247
)

var reference = regexp.MustCompile(`^\$\{secret:(\w+)\}$`)

// ReadInstance reads an instance file with its secrets put in; an error names the file and the fault (I2M-ENV-10).
func ReadInstance(file string, secrets map[string]string) (*Instance, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: write the instance configuration there", err)
	}
	text, err = withSecrets(text, secrets)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var found document
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, fmt.Errorf("%s is no instance configuration: %w", file, err)
	}
	instance, err := found.instance()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return instance, nil
}

// withSecrets replaces each text ${secret:KEY}, and puts what no text refers to into connection (I2M-ENV-14).
func withSecrets(text []byte, secrets map[string]string) ([]byte, error) {
	if len(secrets) == 0 {
		return text, nil
	}
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	used := map[string]bool{}
	filled, err := fill(all, secrets, used)
	if err != nil {
		return nil, err
	}
	all = filled.(map[string]any)
	connection, ok := all["connection"].(map[string]any)
	if !ok {
		connection = map[string]any{}
		all["connection"] = connection
	}
	for key, secret := range secrets {
		if !used[key] {
			connection[key] = secret
		}
	}
	return json.Marshal(all)
}

func fill(value any, secrets map[string]string, used map[string]bool) (any, error) {
	var err error
	switch value := value.(type) {
	case map[string]any:
		for key, item := range value {
			if value[key], err = fill(item, secrets, used); err != nil {
				return nil, err
			}
		}
	case []any:
		for index, item := range value {
			if value[index], err = fill(item, secrets, used); err != nil {
				return nil, err
			}
		}
	case string:
		found := reference.FindStringSubmatch(value)
		if found == nil {
			return value, nil
		}
		secret, known := secrets[found[1]]
		if !known {
			return nil, fmt.Errorf("it refers to the secret %s, and the file of secrets has none of that name", found[1])
		}
		used[found[1]] = true
		return secret, nil
	}
	return value, nil
}

func (d *document) instance() (*Instance, error) {
	seconds := usualInterval
	if d.Interval != nil {
		seconds = *d.Interval
	}
	if !(seconds > 0 && seconds <= longestInterval) {
		return nil, fmt.Errorf("update_interval must be a number of seconds above 0")
	}
	connection, err := readConnection(d.Connection)
	if err != nil {
		return nil, err
	}
	instance := &Instance{Interval: time.Duration(seconds * float64(time.Second)), Address: *connection}
	seen := map[string]bool{}
	for _, device := range d.Devices {
		if !IsName(device.ID) || seen[device.ID] {
			return nil, fmt.Errorf("devices: %q is no device_id, or stands there twice: give each one a name", device.ID)
		}
		if device.Unit == nil || *device.Unit < 1 || *device.Unit > highestUnit {
			return nil, fmt.Errorf("%s: unit must be a whole number from 1 to %d", device.ID, highestUnit)
		}
		seen[device.ID] = true
		instance.Devices = append(instance.Devices, Device{
			ID:      device.ID,
			Unit:    byte(*device.Unit),
			Model:   or(device.Model, "Energy meter"),
			Enabled: device.Enabled == nil || *device.Enabled,
		})
	}
	return instance, d.groups(instance)
}

func (d *document) groups(instance *Instance) error {
	seen := map[string]bool{}
	for _, group := range d.Groups {
		if !IsName(group.ID) || seen[group.ID] {
			return fmt.Errorf("groups: %q is no group_id, or stands there twice: give each one a name", group.ID)
		}
		seen[group.ID] = true
		instance.Groups = append(instance.Groups, Group{ID: group.ID, Devices: group.Devices})
	}
	return nil
}

// readConnection takes the port as a number or, as it comes from a file of secrets, as a text.
func readConnection(text json.RawMessage) (*Connection, error) {
	var found struct {
		Host string          `json:"host"`
		Port json.RawMessage `json:"port"`
	}
	if text == nil || json.Unmarshal(text, &found) != nil || found.Host == "" {
		return nil, fmt.Errorf("connection must be an object with the gateway's host and port")
	}
	digits := string(found.Port)
	if unquoted, err := strconv.Unquote(digits); err == nil {
		digits = unquoted
	}
	port, err := strconv.Atoi(or(digits, "502"))
	if err != nil || port < 1 || port > 65535 {
		return nil, fmt.Errorf("connection.port must be a whole number from 1 to 65535")
	}
	return &Connection{Host: found.Host, Port: port}, nil
}
