// Carries results over a change of language. The page in the other language is another
// document; what was found goes along in the session's storage, which the tab alone can
// read, and is gone as soon as it is read. Files are never in it.

const key = 'stele-carry';
const freshFor = 60000; // ms; what is older belongs to a page that was left long ago

// pack stores a state, and says whether it did: there may be no room, or no storage.
export function pack(state) {
  try {
    sessionStorage.setItem(key, JSON.stringify({ path: location.pathname, at: Date.now(), state }));
    return true;
  } catch {
    return false;
  }
}

// unpack returns what was stored for this page, or null.
export function unpack() {
  try {
    const text = sessionStorage.getItem(key);
    sessionStorage.removeItem(key);
    const { path, at, state } = JSON.parse(text) ?? {};
    return path === location.pathname && Date.now() - at < freshFor ? state : null;
  } catch {
    return null;
  }
}
