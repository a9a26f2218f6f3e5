package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheEnvironmentWinsOverTheFile(t *testing.T) {
	file := write(t, ".env", "# broker\nMQTT_HOST=\"one\"\nexport MQTT_PORT=1884\nMQTT_QOS=2\n")
	t.Setenv("IOT2MQTT_PATH", filepath.Dir(file))
	t.Setenv("INSTANCE_NAME", "a")
	t.Setenv("MQTT_QOS", "0")
	found, err := ReadEnvironment()
	if err != nil || found.Host != "one" || found.Port != 1884 || found.QoS != 0 || found.KeepAlive != 60 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestANumberThatIsNoneIsRefusedWithItsName(t *testing.T) {
	t.Setenv("IOT2MQTT_PATH", t.TempDir())
	t.Setenv("INSTANCE_NAME", "a")
	for name, text := range map[string]string{"MQTT_QOS": "3", "MQTT_PORT": "0", "MQTT_KEEPALIVE": "1e3"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, text)
			if _, err := ReadEnvironment(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestSecretsTakeThePlaceOfWhatRefersToThem(t *testing.T) {
	file := write(t, "a.json", `{"connection": {"host": "${secret:where}"}, "devices": []}`)
	found, err := ReadInstance(file, map[string]string{"where": "gateway", "port": "1502"})
	if err != nil || found.Address != (Connection{"gateway", 1502}) {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := ReadInstance(file, map[string]string{"port": "1502"}); err == nil || !strings.Contains(err.Error(), "where") {
		t.Errorf("%v", err)
	}
}

func TestWhatIsWrongWithAnInstanceFileIsSaidWithTheFile(t *testing.T) {
	for text, fault := range map[string]string{
		`{`:  "a.json",
		`[]`: "a.json",
		`{"connection": {"host": "g"}, "devices": "meter"}`:                           "devices",
		`{"connection": {"host": "g"}, "devices": [{"device_id": "a/b", "unit": 1}]}`: "device_id",
		`{"connection": {"host": "g"}, "devices": [{"device_id": "a"}]}`:              "unit",
		`{"connection": {"host": "g"}, "devices": [{"device_id": "a", "unit": 300}]}`: "unit",
		`{"connection": {"host": "g"}, "groups": [{}]}`:                               "group_id",
		`{"connection": {"host": "g"}, "update_interval": 0}`:                         "update_interval",
		`{"connection": {"host": "g", "port": "80x"}}`:                                "port",
		`{}`: "connection",
	} {
		file := write(t, "a.json", text)
		_, err := ReadInstance(file, nil)
		if err == nil || !strings.Contains(err.Error(), fault) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
