// Requests to the server. A failed request throws an ApiError with the server's message.

export class ApiError extends Error {
  constructor(status, body) {
    super(body.error || `the server returned status ${status}`);
    this.status = status;
    this.newer = body.newer || [];
  }
}

async function checked(response) {
  if (response.ok) return response;
  let body = {};
  try {
    body = await response.json();
  } catch {
    // Not JSON: the status is enough.
  }
  throw new ApiError(response.status, body);
}

const json = async (path, options) => (await checked(await fetch(path, options))).json();
const bytes = async (path, signal) => (await checked(await fetch(path, { signal }))).arrayBuffer();
const post = (path, body) =>
  json(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
const casePath = (id) => `api/cases/${encodeURIComponent(id)}`;

export const getRun = () => json("api/run");
export const getCases = (after) => json(`api/cases?after=${after}`);
export const getCase = (id, signal) => json(casePath(id), { signal });
export const getViews = (id) => json(`${casePath(id)}/views`);
export const getMaps = async (id, signal) => new Uint8Array(await bytes(`${casePath(id)}/maps`, signal));
export const getSurfaces = (id, signal) => bytes(`${casePath(id)}/surfaces`, signal);
export const getImage = (id, signal) => bytes(`${casePath(id)}/image`, signal);
export const getDecisions = async (since) => (await json(`api/decisions?since=${since}`)).decisions;
export const writeDecisions = async (reviewer, entries) => (await post("api/decisions", { reviewer, entries })).decisions;
export const undoDecision = async (reviewer) => (await post("api/undo", { reviewer })).decisions;
export const loadTable = (text) =>
  json("api/decisions.csv", { method: "POST", headers: { "content-type": "text/csv" }, body: text });
