// The console works without this; it adds copy buttons, keeps a form from being sent twice,
// keeps pages up to date, and finds records by file.

import { offer } from './drop.js';
import { follow } from './live.js';

follow();
offer();

for (const button of document.querySelectorAll('[data-copy]')) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener('click', async () => {
    const lines = [...document.getElementById(button.dataset.copy).querySelectorAll('li')].map((l) => l.textContent);
    const text = lines.length > 0 ? lines.join('\n') : document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.dataset.copied = 'yes';
      document.querySelector('.said').textContent = button.dataset.done;
    } catch {
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy)); // to be copied by hand
    }
  });
}

// The page that answers has other forms; coming back to this one, it can be sent again, and the
// server takes it once.
const sent = new Set();
addEventListener('submit', (event) => {
  const form = event.target;
  if (form.method !== 'post' || event.submitter?.formTarget === '_blank') return;
  if (sent.has(form)) event.preventDefault();
  sent.add(form);
});
addEventListener('pageshow', () => sent.clear());

const megabytes = (n) => `${(n / 1048576).toFixed(1)} MB`;

// A form with files goes by request, because only then a browser says how far it has come.
for (const form of document.querySelectorAll('form[data-sending]')) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (sent.has(form)) return;
    const place = form.querySelector('.sending');
    const [bar, text] = [place.querySelector('progress'), place.querySelector('span')];
    const button = form.querySelector('button[type="submit"]');
    const begun = performance.now();
    place.hidden = false;
    button.disabled = true;
    const request = new XMLHttpRequest();
    request.upload.addEventListener('progress', (p) => {
      bar.value = p.total > 0 ? p.loaded / p.total : 0;
      const left = Math.ceil(((performance.now() - begun) / 1000) * (p.total / Math.max(p.loaded, 1) - 1));
      text.textContent = form.dataset.sending.replace('{done}', megabytes(p.loaded)).replace('{total}', megabytes(p.total)).replace('{left}', left);
    });
    request.addEventListener('load', () => {
      if (request.status === 200 && request.responseURL !== form.action) {
        location.assign(request.responseURL);
        return;
      }
      const page = new DOMParser().parseFromString(request.responseText, 'text/html');
      const main = page.querySelector('main');
      if (!main) return location.reload();
      document.querySelector('main').replaceWith(main);
      main.querySelector('#problem')?.scrollIntoView();
      // The page that came has no script at its forms: it is sent without a bar.
    });
    request.addEventListener('error', () => {
      text.textContent = form.dataset.broken;
      button.disabled = false;
      sent.delete(form);
    });
    request.open('POST', form.action);
    request.send(new FormData(form));
  });
}

// What changes by itself is fetched until it changes no more; then the whole page is, for it has
// other things to do then.
const watched = document.querySelector('[data-watch]');
if (watched?.dataset.watch) {
  const look = async () => {
    try {
      const answer = await fetch(watched.dataset.at, { headers: { Accept: 'text/html' } });
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const next = page.querySelector('[data-watch]');
      if (!answer.ok || !next || next.dataset.watch !== watched.dataset.watch) {
        location.assign(watched.dataset.at);
        return;
      }
      watched.replaceChildren(...next.childNodes);
    } catch {
      // Without a connection the page stays as it is, and looks again.
    }
    setTimeout(look, 1000);
  };
  setTimeout(look, 1000);
}
