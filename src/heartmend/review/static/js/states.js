// Words and signs: one for each choice and each state, the same everywhere on the page.

export const WORDS = { open: "open", accept: "accepted", reject: "rejected", correct: "flagged", corrected: "corrected" };
export const STRUCTURE_STATES = {
  open: ["○", "open"], accepted: ["✓", "accepted"], rejected: ["↺", "rejected"], mixed: ["◐", "mixed"],
  flagged: ["⚑", "flagged"], corrected: ["★", "corrected"], unchanged: ["", "unchanged"],
};
export const CASE_STATES = {
  open: ["○", "open"], begun: ["◐", "begun"], decided: ["●", "decided"], flagged: ["⚑", "flagged"],
};
export const STATE_OF_CHOICE = {
  open: "open", accept: "accepted", reject: "rejected", correct: "flagged", corrected: "corrected",
};
