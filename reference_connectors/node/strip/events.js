// Reads a stream of server-sent events, whatever pieces it arrives in.

const LONGEST_LINE = 4_096;

export class EventReader {
  #onEvent;
  #rest = '';

  constructor(onEvent) {
    this.#onEvent = onEvent;
  }

  /** Take a piece of the stream; an event is one line of `data:`, and what is none is passed over. */
  feed(text) {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop().slice(0, LONGEST_LINE);
    for (const line of lines) {
      const event = line.startsWith('data:') ? parsed(line.slice('data:'.length)) : undefined;
      if (event) this.#onEvent(event);
    }
  }
}

function parsed(text) {
  try {
    const { outlet, event, data } = JSON.parse(text);
    if (typeof outlet === 'string' && typeof event === 'string') return { outlet, event, data: data ?? {} };
  } catch {
    // Half an event, or another program: nothing that a device has said.
  }
  return undefined;
}
