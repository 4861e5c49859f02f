import {
  type Flow,
  type FlowsDelta,
  MAX_QUESTIONS,
  MAX_REFUSALS,
  type Question,
  type Refused,
} from '../../shared/src/flows';

/** One point of the plots. Rates are in bytes per second, the round trip in ms. */
export interface Sample {
  at: number;
  down: number;
  up: number;
  roundTrip: number;
}

/** How long the plots look back, in ms. */
export const SPAN_MS = 3 * 60_000;
const SAMPLE_MS = 1000;

/** What the helper has told. It keeps no more rows than the helper does. */
export class Store {
  flows = new Map<number, Flow>();
  questions: Question[] = [];
  refusals = new Map<number, Refused>();
  link: FlowsDelta['link'];
  samples: Sample[] = [];
  /** The helper's clock at the last delta, in ms. */
  now = 0;
  private last: { at: number; down: number; up: number } | undefined;

  /** Takes a delta. The next one may follow at any time. */
  apply(delta: FlowsDelta): void {
    if (delta.reset) this.clear();
    this.now = Date.parse(delta.time) || this.now;
    this.link = delta.link;
    for (const flow of delta.flows ?? []) this.flows.set(flow.id, flow);
    for (const [id, bytesUp, bytesDown] of delta.counts ?? []) {
      const flow = this.flows.get(id);
      if (flow !== undefined) this.flows.set(id, { ...flow, bytesUp, bytesDown });
    }
    for (const id of delta.gone ?? []) this.flows.delete(id);
    this.questions = [...this.questions, ...(delta.questions ?? [])].slice(-MAX_QUESTIONS);
    for (const refused of delta.refusals ?? []) {
      this.refusals.delete(refused.id); // the newest stands last
      this.refusals.set(refused.id, refused);
    }
    for (const id of this.refusals.keys()) {
      if (this.refusals.size <= MAX_REFUSALS) break;
      this.refusals.delete(id);
    }
    this.sample(delta);
  }

  /** Returns a copy that stays as it is: what is in the lists is replaced, never changed. */
  still(): Store {
    const still = new Store();
    still.flows = new Map(this.flows);
    still.questions = this.questions;
    still.refusals = new Map(this.refusals);
    still.now = this.now;
    return still;
  }

  /** Forgets everything. */
  clear(): void {
    this.flows.clear();
    this.questions = [];
    this.refusals.clear();
    this.samples = [];
    this.link = undefined;
    this.last = undefined;
  }

  private sample({ bytesDown, bytesUp, link }: FlowsDelta): void {
    const { last, now } = this;
    if (last !== undefined && now - last.at < SAMPLE_MS) return;
    if (last !== undefined) {
      const seconds = (now - last.at) / 1000;
      this.samples.push({
        at: now,
        down: Math.max(0, bytesDown - last.down) / seconds,
        up: Math.max(0, bytesUp - last.up) / seconds,
        roundTrip: link?.rttMillis ?? 0,
      });
      this.samples = this.samples.filter(({ at }) => now - at <= SPAN_MS);
    }
    this.last = { at: now, down: bytesDown, up: bytesUp };
  }
}
