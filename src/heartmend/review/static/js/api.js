// All that goes to the server and comes from it. A refusal is an ApiError with what the server said.

export class ApiError extends Error {
  constructor(status, body) {
    super(body.error || `the server answered ${status}`);
    this.status = status;
    this.newer = body.newer || [];
  }
}

async function answered(response) {
  if (response.ok) return response;
  let body = {};
  try {
    body = await response.json();
  } catch {
    // Not JSON: the status says enough.
  }
  throw new ApiError(response.status, body);
}

const json = async (path, options) => (await answered(await fetch(path, options))).json();
const bytes = async (path, signal) => (await answered(await fetch(path, { signal }))).arrayBuffer();
const post = (path, body) =>
  json(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
const one = (id) => `api/cases/${encodeURIComponent(id)}`;

export const getRun = () => json("api/run");
export const getCase = (id, signal) => json(one(id), { signal });
export const getMaps = async (id, signal) => new Uint8Array(await bytes(`${one(id)}/maps`, signal));
export const getSurfaces = (id, signal) => bytes(`${one(id)}/surfaces`, signal);
export const getImage = (id, signal) => bytes(`${one(id)}/image`, signal);
export const getDecisions = async (since) => (await json(`api/decisions?since=${since}`)).decisions;
export const writeDecisions = async (who, entries) => (await post("api/decisions", { who, entries })).decisions;
export const undoDecision = async (who) => (await post("api/undo", { who })).decisions;
export const loadTable = (text) =>
  json("api/decisions.csv", { method: "POST", headers: { "content-type": "text/csv" }, body: text });
