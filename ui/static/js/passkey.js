// Passkeys: hands the server's question to the browser's own dialogue, and the answer back with
// a form. Without this, or in a browser without passkeys, the buttons stay hidden.

const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
const text = (buffer) => (buffer ? btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '') : undefined);
const described = (list) => list?.map((c) => ({ ...c, id: bytes(c.id) }));

// Browsers that can do this by themselves are too new for many offices (parseCreationOptionsFromJSON).
function make(o) {
  return navigator.credentials.create({ publicKey: { ...o, challenge: bytes(o.challenge), user: { ...o.user, id: bytes(o.user.id) }, excludeCredentials: described(o.excludeCredentials) } });
}

function find(o) {
  return navigator.credentials.get({ publicKey: { ...o, challenge: bytes(o.challenge), allowCredentials: described(o.allowCredentials) } });
}

function written(c) {
  const r = c.response;
  return JSON.stringify({
    id: c.id, rawId: text(c.rawId), type: c.type, authenticatorAttachment: c.authenticatorAttachment ?? undefined, clientExtensionResults: c.getClientExtensionResults(),
    response: {
      clientDataJSON: text(r.clientDataJSON), attestationObject: text(r.attestationObject), authenticatorData: text(r.authenticatorData ?? r.getAuthenticatorData?.()),
      signature: text(r.signature), userHandle: text(r.userHandle), transports: r.getTransports?.(),
    },
  });
}

// Said is an error whose text the server has written for people.
class Said extends Error {}

async function post(url, fields) {
  const res = await fetch(url, { method: 'POST', body: new URLSearchParams(fields) });
  if (res.status === 204) return null;
  if (res.ok && res.headers.get('Content-Type') === 'application/json') return res.json();
  const page = new DOMParser().parseFromString(await res.text(), 'text/html');
  throw new Said(page.querySelector('#problem, main h1')?.textContent ?? '');
}

function problem(button, error) {
  const at = button.parentElement.querySelector('[data-problem]');
  at.textContent = error instanceof Said && error.message ? error.message : at.dataset.problem;
  at.hidden = false;
}

// A question has a name of its own each time, so that it can be asked again.
const fields = (form) => ({ ...Object.fromEntries(new FormData(form)), once: crypto.randomUUID() });

async function withForm(button) {
  const form = button.form;
  if (!form.reportValidity()) return;
  const asked = await post(form.dataset.begin, fields(form));
  form.elements.answer.value = written(await (form.dataset.passkey === 'make' ? make : find)(asked.options));
  form.elements.attempt.value = asked.attempt;
  form.submit();
}

async function confirmed(button) {
  const form = button.form;
  const own = { form: form.elements.form.value };
  const asked = await post('/console/account/confirm/begin', { ...own, once: crypto.randomUUID() });
  const answer = written(await find(asked.options));
  await post('/console/account/confirm/passkey', { ...own, once: crypto.randomUUID(), attempt: asked.attempt, answer });
  for (const part of document.querySelectorAll('.confirm')) part.remove();
  form.requestSubmit();
}

for (const button of window.PublicKeyCredential ? document.querySelectorAll('button[data-passkey]') : []) {
  button.hidden = false;
  button.addEventListener('click', async () => {
    button.disabled = true;
    button.parentElement.querySelector('[data-problem]').hidden = true;
    try {
      await (button.dataset.passkey === 'confirm' ? confirmed : withForm)(button);
    } catch (error) {
      problem(button, error);
    } finally {
      button.disabled = false;
    }
  });
}

// Enter in a field asks too; there is nothing to be sent before.
for (const form of document.querySelectorAll('form[data-passkey]')) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    form.querySelector(`button[data-passkey="${form.dataset.passkey}"]`).click();
  });
}
