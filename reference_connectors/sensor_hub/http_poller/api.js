// The JSON API of the poller, on loopback: it trusts whoever reaches it, so nobody from outside may.

import http from "node:http";

import { ApiError } from "./errors.js";
import { log } from "./log.js";

const STARTED = new Date().toISOString();

/**
 * @param {Map<string, import("./sensor.js").Sensor>} sensors The sensors by id.
 * @returns {http.Server} A server that does not listen yet.
 */
export function api(sensors) {
  const errors = () => [...sensors.values()].map((sensor) => sensor.error).filter(Boolean);
  const routes = {
    "/health": () => ({
      status: "healthy",
      service: "http-poller",
      started: STARTED, // tells one life of the process from the next
      timestamp: new Date().toISOString(),
      sensors: sensors.size,
      errors: errors().length,
    }),
    "/sensors": () => ({
      sensors: [...sensors.keys()].map((sensor_id) => ({ sensor_id, type: "motion" })),
      count: sensors.size,
    }),
    "/errors": () => ({ errors: errors(), count: errors().length }),
  };

  function sensor(name) {
    const found = sensors.get(decoded(name));
    if (!found) throw new ApiError(404, "SENSOR_NOT_FOUND", `no sensor ${name} is configured`);
    return found;
  }

  function answer(method, path) {
    const [, name, health] = path.match(/^\/sensor\/([^/]+)(\/health)?$/) ?? [];
    const known = Object.hasOwn(routes, path);
    if (!known && !name) throw new ApiError(404, "NOT_FOUND", `there is no ${path}`);
    if (method !== "GET") throw new ApiError(405, "METHOD_NOT_ALLOWED", `${path} takes only GET`);
    if (known) return routes[path]();
    return health ? sensor(name).health() : sensor(name).reading();
  }

  return http.createServer(async (request, response) => {
    try {
      send(response, 200, await answer(request.method, request.url.split("?")[0]));
    } catch (error) {
      const { status, code, message } = foreseen(error);
      send(response, status, { error: code, message, timestamp: new Date().toISOString() });
    }
  });
}

function decoded(name) {
  try {
    return decodeURIComponent(name);
  } catch {
    throw new ApiError(400, "BAD_REQUEST", `${name} is not a name as addresses spell it`);
  }
}

function foreseen(error) {
  if (error instanceof ApiError) return error;
  log("ERROR", error.stack);
  return new ApiError(500, "INTERNAL_ERROR", "the service has failed, and its log says why");
}

function send(response, status, content) {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(content));
}
