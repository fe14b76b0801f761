// The page's side of the service: what it is asked, and how long it may take. An offline
// page has none.

import { Trouble } from './engine.js';

const patience = 20000; // ms until an answer that does not come counts as none

async function answerTo(url, signal, request = {}) {
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), patience);
  const stop = () => giveUp.abort();
  signal?.addEventListener('abort', stop);
  try {
    const answer = await fetch(url, { ...request, signal: giveUp.signal });
    if (answer.status === 429) throw new Trouble('busy');
    if (answer.status >= 500) throw new Trouble('service');
    if (!answer.ok) throw new Trouble('answer');
    return await (request.method ? answer.blob() : answer.text());
  } catch (e) {
    throw e instanceof Trouble ? e : new Trouble('network');
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}

const asJSON = { headers: { Accept: 'application/json' } };

export class Service {
  // lookup returns the text of an answer about {sm3} or {number, code}.
  lookup(what, signal) { return answerTo(`/api/v1/lookup?${new URLSearchParams(what)}`, signal, asJSON); }

  // trust returns the text of the trust roots.
  trust(signal) { return answerTo('/api/v1/trust.json', signal, asJSON); }

  // report returns a report as a PDF. fields are sm3, number, code, bundle and lang: nothing
  // of the file but its digest.
  report(fields) { return answerTo('/report', null, { method: 'POST', body: new URLSearchParams(fields) }); }

  // events tells what becomes of a record, as {state, standing}, until the function that it
  // returns is called. A browser connects again by itself.
  events(number, tell) {
    if (!('EventSource' in window)) return () => {};
    const source = new EventSource(`/r/${encodeURIComponent(number)}/events`);
    source.addEventListener('state', ({ data }) => {
      try {
        tell(JSON.parse(data));
      } catch {
        source.close(); // whatever answers here is not the service
      }
    });
    return () => source.close();
  }
}
