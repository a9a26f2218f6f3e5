// Tells a container's HEALTHCHECK, without a port, that the broker is connected and the event loop turns.
import { rmSync, writeFileSync } from 'node:fs';

const EVERY = 5_000;

/** Touch a file again and again while the connector is online. */
export function reportHealth(file, broker, stopping) {
  if (file === null) return;
  const timer = setInterval(() => broker.online && writeFileSync(file, 'online\n'), EVERY);
  stopping.addEventListener('abort', () => {
    clearInterval(timer);
    rmSync(file, { force: true });
  });
}
