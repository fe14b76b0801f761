// Keeps a part of a page up to date: when the service says that things are not as the page has
// them, that part is fetched again. Without this, a reload does the same.

const place = () => document.getElementById('live');
const pause = 1000; // ms after a part was fetched

async function refresh(before) {
  const answer = await fetch(before.dataset.live, { headers: { Accept: 'text/html' } });
  if (!answer.ok || answer.redirected) return false; // signed out meanwhile
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const after = page.getElementById('live');
  if (!after) return false;
  const focus = before.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
  const open = [...before.querySelectorAll('details')].map((d) => d.open);
  before.replaceWith(document.adoptNode(after));
  place().querySelectorAll('details').forEach((d, i) => { d.open = open[i] ?? false; });
  if (focus) [...place().querySelectorAll('a')].find((a) => a.getAttribute('href') === focus)?.focus();
  if (after.dataset.said && after.dataset.said !== before.dataset.said) document.querySelector('.said').textContent = after.dataset.said;
  return true;
}

export function follow() {
  const { events } = place()?.dataset ?? {};
  if (!events || !('EventSource' in window)) return;
  const source = new EventSource(events);
  let working = false;
  let latest = null;
  const look = async () => {
    if (working) return;
    working = true;
    try {
      while (latest !== null && place().dataset.events && latest !== place().dataset.now) {
        latest = null;
        if (!(await refresh(place()))) {
          source.close();
          break;
        }
        await new Promise((done) => { setTimeout(done, pause); });
      }
    } catch {
      // the network is away: the next event, or a reload, brings what is new
    } finally {
      working = false;
    }
    if (!place().dataset.events) source.close(); // nothing more is to come
  };
  source.addEventListener('state', ({ data }) => {
    latest = data;
    look();
  });
  addEventListener('pagehide', () => source.close());
}
