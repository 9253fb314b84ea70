/**
 * The server's answers, as its OpenAPI document describes them (openapi.d.ts is made from that), with the fields that the
 * document leaves open.
 *
 * @typedef {import("../openapi.js").ErrorDetail} Detail
 * @typedef {import("../openapi.js").BackgroundSpec} BackgroundSpec
 * @typedef {import("../openapi.js").ImageSpec} ImageSpec
 * @typedef {import("../openapi.js").ModelView} Model
 * @typedef {import("../openapi.js").OperationPrice} Operation
 * @typedef {import("../openapi.js").Readiness} Readiness
 * @typedef {import("../openapi.js").Totals} Totals
 * @typedef {import("../openapi.js").Usage} Usage
 * @typedef {import("../openapi.js").TransactionPage} TransactionPage
 *
 * @typedef {{scene: string | null, mood: string | null, colors_used: number}} Understood
 * @typedef {Omit<import("../openapi.js").Estimate, "understood"> & {understood?: Understood | null}} Estimate
 * @typedef {Omit<import("../openapi.js").Accepted, "understood"> & {understood?: Understood | null}} Accepted
 *
 * @typedef {{model: string, width: number, height: number, seed: number, steps: number, guidance: number, prompt: string,
 *   negative_prompt?: string, timings?: Record<string, number>, technical_failure?: string, understood?: Understood,
 *   eval?: Evaluation}} Meta
 * @typedef {{dominant: {color: string, share: number}[], sharpness: number, contrast: number, clipped_black: number,
 *   clipped_white: number, palette: {requested: string, nearest: string, delta_e: number, share: number}[]}} Evaluation
 * @typedef {{step?: number, steps?: number, model?: string, reason?: string, refunded?: number, image?: number,
 *   total_bytes?: number}} Extra
 *
 * @typedef {Omit<import("../openapi.js").Artifact, "meta"> & {meta: Meta}} Artifact
 * @typedef {Omit<import("../openapi.js").JobEvent, "artifacts" | "extra"> & {artifacts: Artifact[], extra: Extra}} JobEvent
 * @typedef {JobEvent & {job_public_id: string, cursor: number}} ClientEvent
 * @typedef {Omit<Partial<BackgroundSpec> & Partial<ImageSpec>, "prompt" | "metadata">
 *   & {prompt?: string | null, metadata?: {studio?: Variation}}} Request  the spec of either workflow
 * @typedef {Omit<import("../openapi.js").JobView, "request" | "result" | "latest_event">
 *   & {request: Request, result: Artifact[], latest_event: JobEvent | null}} Job
 *
 * Which of the pictures of one order this is; the page writes it into the metadata of its requests.
 * @typedef {{order: string, number: number, of: number}} Variation
 *
 * @typedef {"backgrounds" | "images"} Kind  a part of the catalogue
 * @typedef {{public_id: string, display_name: string, scene_type?: string, mood?: string, dominant_colors?: string[],
 *   prompt?: string, metadata: {studio?: Variation}}} EntrySpec
 * @typedef {Omit<import("../openapi.js").BackgroundEntry, "spec"> & {kind: Kind, spec: EntrySpec}} Entry
 */

export {};
