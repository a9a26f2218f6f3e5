// How answers of the simulated strip can go wrong, as those of real devices do.
import { setTimeout as sleep } from 'node:timers/promises';

const SLOW_PIECE = 1_000;

const KINDS = {
  status: (response) => response.writeHead(500).end('Internal Server Error'),
  redirect: (response) => response.writeHead(302, { location: '/login' }).end(),
  garbage: (response) => response.writeHead(200).end('<html>Please log in</html>'),
  list: (response) => response.writeHead(200).end('[]'),
  half: (response, text) => {
    response.writeHead(200, { 'content-length': text.length });
    response.write(text.slice(0, text.length / 2));
    setImmediate(() => response.destroy());
  },
  hangup: (response) => response.destroy(),
  flood: (response) => response.writeHead(200).end(' '.repeat(1_000_000)),
  async slow(response, text) {
    response.writeHead(200);
    for (const letter of text) {
      response.write(letter);
      await sleep(SLOW_PIECE);
      if (response.destroyed) return;
    }
    response.end();
  },
};

export const FAULTS = Object.keys(KINDS);

/** Answer a question about an outlet wrongly. */
export async function misbehave(kind, response, state) {
  await KINDS[kind](response, JSON.stringify(state));
}
