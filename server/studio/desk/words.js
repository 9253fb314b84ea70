/** Numbers, times and states, as people read them. */

/** @param {number} bytes */
export function size(bytes) {
  if (!bytes) return "0";
  const step = Math.min(4, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** step;
  return `${value.toLocaleString(undefined, { maximumFractionDigits: value < 10 && step ? 1 : 0 })} ${["B", "KiB", "MiB", "GiB", "TiB"][step]}`;
}

/** @param {number} value */
export const number = (value) => value.toLocaleString();

/** @param {number} value  0–1 */
export const percent = (value) => `${Math.round(value * 100)} %`;

/**
 * Return a moment in this browser's time: its time if it is today, else its day.
 * @param {string} text
 */
export function moment(text) {
  const at = new Date(text);
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday ? at.toLocaleTimeString() : at.toLocaleDateString(undefined, { dateStyle: "medium" });
}

/**
 * Return a day and a time in this browser's time.
 * @param {string} text
 */
export const minute = (text) => new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

/**
 * Return how long ago something was, roughly.
 * @param {string} text
 */
export function age(text) {
  const seconds = Math.max(0, (Date.now() - new Date(text).getTime()) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129_600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}
