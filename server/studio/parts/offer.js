/** Offers of buttons that order: a button shows the price first, and orders for no more than that. */

import { ApiError } from "../api/http.js";
import { NotSent } from "../state/order.js";
import { credits, silence } from "../state/session.js";
import { tellError } from "../state/toasts.js";
import { useState } from "../view.js";
import { useAnswer } from "./answer.js";

/**
 * Ask what an order costs; return the price and how to order. `send` is given the price that was shown. `order` returns
 * whether the order was taken, and tells the user why if it was not.
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
    // Ask again after a refusal, once the server can be reached, and once the balance changes if there were too few credits.
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
