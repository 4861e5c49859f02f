// The part of the DOM that the panel's page touches, for unit tests.

/** An element that keeps what is set. */
export class FakeElement {
  [key: string]: unknown;
  children: FakeElement[] = [];
  parent: FakeElement | undefined;
  hidden = false;
  className = '';
  clientHeight = 500;
  scrollTop = 0;
  style: Record<string, unknown> = { setProperty: () => {} };
  readonly attributes = new Map<string, string>();
  private own = '';

  constructor(readonly tag: string) {}

  get textContent(): string {
    return this.own + this.children.map(({ textContent }) => textContent).join('');
  }
  set textContent(text: string) {
    this.children = [];
    this.own = text;
  }
  append(...parts: (FakeElement | string)[]): void {
    for (const part of parts) {
      const child = typeof part === 'string' ? new FakeElement('#text') : part;
      if (typeof part === 'string') child.textContent = part;
      child.parent = this;
      this.children.push(child);
    }
  }
  appendChild(child: FakeElement): FakeElement {
    this.append(child);
    return child;
  }
  prepend(...parts: FakeElement[]): void {
    const { children } = this;
    this.children = [];
    this.append(...parts, ...children);
  }
  replaceChildren(...parts: FakeElement[]): void {
    this.textContent = '';
    this.append(...parts);
  }
  remove(): void {
    if (this.parent) this.parent.children = this.parent.children.filter((child) => child !== this);
  }
  setAttribute(name: string, value: string): void {
    this.attributes.set(name, value);
  }
  addEventListener(): void {}
  focus(): void {}
  contains(other: unknown): boolean {
    return other === this || this.children.some((child) => child.contains(other));
  }
  /** All elements below with that tag or class. */
  all(name: string): FakeElement[] {
    return this.children.flatMap((child) => [
      ...(child.tag === name || child.className.split(' ').includes(name) ? [child] : []),
      ...child.all(name),
    ]);
  }
  click(): void {
    (this.onclick as (() => void) | undefined)?.();
  }
}

export const body = new FakeElement('body');
export const document = {
  body,
  activeElement: undefined,
  createElement: (tag: string) => new FakeElement(tag),
  createElementNS: (_: string, tag: string) => new FakeElement(tag),
  createDocumentFragment: () => new FakeElement('#fragment'),
};
