// The part of the API that unit tests of the user interface touch.
export class ThemeColor {
  constructor(readonly id: string) {}
}
export class Disposable {
  static from(...items: { dispose(): unknown }[]): Disposable {
    return new Disposable(() => {
      for (const item of items) item.dispose();
    });
  }
  constructor(readonly dispose: () => unknown) {}
}
