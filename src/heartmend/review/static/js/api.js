// Requests to the server. A failed request throws an ApiError with the server's message.

export class ApiError extends Error {
  constructor(status, body) {
    super(body.error || `the server returned status ${status}`);
    this.status = status;
    this.newer = { decisions: body.newer || [], states: body.states };
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
const send = (path, body) =>
  fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
const post = async (path, body) => (await checked(await send(path, body))).json();
const casePath = (id) => `api/cases/${encodeURIComponent(id)}`;

export const getRun = () => json("api/run");
export const getCases = (after) => json(`api/cases?after=${after}`);
export const getCase = (id, signal) => json(casePath(id), { signal });
export const getViews = (id) => json(`${casePath(id)}/views`);
export const getMaps = async (id, signal) => new Uint8Array(await bytes(`${casePath(id)}/maps`, signal));
export const getUncertainty = async (id) => new Uint8Array(await bytes(`${casePath(id)}/uncertainty`));
export const getSurfaces = (id, signal) => bytes(`${casePath(id)}/surfaces`, signal);
export const getImage = (id, signal) => bytes(`${casePath(id)}/image`, signal);
export const getDecisions = (since) => json(`api/decisions?since=${since}`);
export const writeDecisions = (reviewer, entries) => post("api/decisions", { reviewer, entries });
export const undoDecision = (reviewer) => post("api/undo", { reviewer });
export const previewEdit = async (id, operations) =>
  (await checked(await send(`${casePath(id)}/edit`, { operations }))).arrayBuffer();
export const saveCorrection = (id, reviewer, operations, since) => post(`${casePath(id)}/corrected`, { reviewer, operations, since });
export const getRefit = () => json("api/refit");
export const startRefit = () => post("api/refit", {});
export const loadTable = (text) =>
  json("api/decisions.csv", { method: "POST", headers: { "content-type": "text/csv" }, body: text });
