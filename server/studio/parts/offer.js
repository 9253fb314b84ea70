/** What a button offers to order: it says the price first, and orders for no more than that. */

import { ApiError } from "../api/http.js";
import { NotSent } from "../state/order.js";
import { credits, silence } from "../state/session.js";
import { tellError } from "../state/toasts.js";
import { useState } from "../view.js";
import { useAnswer } from "./answer.js";

/**
 * Ask what an order costs, and return that, and how to send it. `send` is given the price that was shown; `order` says whether
 * it was taken, and tells why if it was not.
 * @param {() => Promise<import("../api/types.js").Estimate | null>} ask
 * @param {(shown: number) => Promise<void>} send
 * @returns {{cost: number | null, isSending: boolean, order: () => Promise<boolean>}}  `cost` is null if it cannot be ordered
 */
export function useOffer(ask, send) {
  const [cost, setCost] = useState(/** @type {number | null} */ (null));
  const [isShort, setShort] = useState(false);
  const [isSending, setSending] = useState(false);
  const [refusals, countRefusals] = useState(0);
  useAnswer(
    ask,
    (found) => {
      setCost(found && found.credits_cost);
      setShort(false);
    },
    (error) => {
      setCost(null);
      setShort(error instanceof ApiError && error.code === "INSUFFICIENT_BALANCE");
    },
    // An offer that there were too few credits for, or that nobody could be asked about, may hold later.
    [refusals, silence.value, isShort && credits.value?.balance],
  );
  const order = async () => {
    if (cost === null || isSending) return false;
    setSending(true);
    try {
      await send(cost);
      return true;
    } catch (error) {
      if (error instanceof NotSent) countRefusals(refusals + 1);
      tellError(error);
      return false;
    } finally {
      setSending(false);
    }
  };
  return { cost, isSending, order };
}
