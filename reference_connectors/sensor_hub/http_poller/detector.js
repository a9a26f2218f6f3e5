// One question to a motion detector. Whatever it does, an answer or an error comes within the timeout.

import http from "node:http";

import { ApiError } from "./errors.js";

const LONGEST_ANSWER = 65_536; // bytes

/**
 * Ask a detector what it sees.
 *
 * @param {string} url Its address.
 * @param {number} timeout Milliseconds that the whole answer may take.
 * @returns {Promise<{motion: boolean, battery: number, rssi: number}>} What it says.
 * @throws {ApiError} POLL_TIMEOUT, UNREACHABLE, BAD_STATUS or BAD_ANSWER.
 */
export async function ask(url, timeout) {
  const signal = AbortSignal.timeout(timeout);
  try {
    return understood(await body(await response(url, signal)));
  } catch (error) {
    if (error instanceof ApiError) throw error;
    if (signal.aborted) throw new ApiError(503, "POLL_TIMEOUT", `the detector did not answer within ${timeout} ms`);
    throw new ApiError(503, "UNREACHABLE", `the detector cannot be reached: ${error.message || error.code}`);
  }
}

function response(url, signal) {
  return new Promise((resolve, reject) => {
    http.get(url, { signal, agent: false }, resolve).on("error", reject);
  });
}

async function body(answer) {
  if (answer.statusCode !== 200) {
    answer.destroy();
    // A redirect may lead anywhere; a detector that has moved is for a person to look at.
    throw new ApiError(503, "BAD_STATUS", `the detector answered with status ${answer.statusCode}`);
  }
  const chunks = [];
  let length = 0;
  for await (const chunk of answer) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > LONGEST_ANSWER) throw new ApiError(503, "BAD_ANSWER", "the detector's answer does not end");
  }
  return Buffer.concat(chunks).toString();
}

function understood(text) {
  let told;
  try {
    told = JSON.parse(text);
  } catch {
    throw new ApiError(503, "BAD_ANSWER", "the detector's answer is no JSON");
  }
  const { motion, battery, rssi } = told ?? {};
  if (typeof motion !== "boolean" || !Number.isFinite(battery) || !Number.isFinite(rssi)) {
    throw new ApiError(503, "BAD_ANSWER", "the detector's answer lacks motion, battery or rssi");
  }
  return { motion, battery, rssi };
}
