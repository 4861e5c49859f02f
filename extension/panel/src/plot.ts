import { SPAN_MS } from './store';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 240;
const HEIGHT = 36;

/** A small line over time with its name and its last value. */
export class Plot {
  readonly element = document.createElement('figure');
  private readonly line = document.createElementNS(SVG, 'polyline');
  private readonly value = document.createElement('span');

  constructor(name: string) {
    const caption = document.createElement('figcaption');
    caption.append(name, ' ', this.value);
    const svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute('preserveAspectRatio', 'none');
    svg.setAttribute('aria-hidden', 'true'); // the value says it in words
    svg.append(this.line);
    this.element.append(caption, svg);
  }

  /** Draws values at their times, in ms, up to now. text is the last value in words. */
  draw(points: { at: number; value: number }[], now: number, text: string): void {
    const most = Math.max(1, ...points.map(({ value }) => value));
    const spots = points.map(({ at, value }) => {
      const x = WIDTH - ((now - at) / SPAN_MS) * WIDTH;
      return `${x.toFixed(1)},${(HEIGHT - 1 - (value / most) * (HEIGHT - 2)).toFixed(1)}`;
    });
    this.line.setAttribute('points', spots.join(' '));
    if (this.value.textContent !== text) this.value.textContent = text;
  }
}
