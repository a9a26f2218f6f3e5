// The service that polls motion detectors, and answers from what it knows.

import { readFileSync } from "node:fs";

import { api } from "./api.js";
import { log } from "./log.js";
import { Sensor } from "./sensor.js";

const { sensors, poll_interval, timeout } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const times = { interval: poll_interval * 1000, timeout: timeout * 1000 };
const polled = new Map(sensors.map((sensor) => [sensor.sensor_id, new Sensor(sensor, times)]));
const port = Number(process.env.SERVICE_PORT);

for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit(0));
if (process.env.SUPERVISOR_ENABLED) {
  // When supervisord is no more, nobody holds the other end of stdin.
  process.stdin.on("end", () => process.exit(0)).resume();
}

for (const sensor of polled.values()) sensor.start();
api(polled)
  .on("error", (error) => {
    log("ERROR", `127.0.0.1:${port} cannot be listened on (${error.code}): choose another port in config.ports`);
    process.exit(1);
  })
  .listen(port, "127.0.0.1", () => log("INFO", `listens on 127.0.0.1:${port}`));
