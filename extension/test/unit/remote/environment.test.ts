import { describe, expect, it } from 'vitest';
import { type Collection, offerPath, ProxyEnvironment } from '../../../remote/src/environment';

class FakeCollection implements Collection {
  persistent = true;
  description: unknown;
  changes = 0;
  readonly values = new Map<string, string>();
  replace(name: string, value: string): void {
    this.changes++;
    this.values.set(name, value);
  }
  append(name: string, value: string): void {
    this.values.set(name, `...${value}`);
  }
  delete(name: string): void {
    this.changes++;
    this.values.delete(name);
  }
}

describe('ProxyEnvironment', () => {
  it('does not persist from the start', () => {
    const collection = new FakeCollection();
    new ProxyEnvironment(collection, {});
    expect(collection.persistent).toBe(false);
    expect(collection.changes).toBe(0);
  });

  it('sets both spellings, and adds to the exceptions that stand', () => {
    const collection = new FakeCollection();
    const environment = new ProxyEnvironment(collection, { no_proxy: 'a.test, localhost' });
    environment.set('127.0.0.1:7750', ['orders-db.corp.test']);
    const url = 'http://127.0.0.1:7750';
    const exceptions = 'a.test,localhost,127.0.0.1,::1,orders-db.corp.test';
    expect(Object.fromEntries(collection.values)).toEqual({
      http_proxy: url,
      HTTP_PROXY: url,
      https_proxy: url,
      HTTPS_PROXY: url,
      no_proxy: exceptions,
      NO_PROXY: exceptions,
    });
  });

  it('touches open terminals only when the proxy comes, changes or goes', () => {
    const collection = new FakeCollection();
    const environment = new ProxyEnvironment(collection, {});
    environment.clear();
    expect(collection.changes).toBe(0);
    environment.set('127.0.0.1:1', []);
    const { changes } = collection;
    environment.set('127.0.0.1:1', ['later.test']);
    expect(collection.changes).toBe(changes);
    offerPath(collection, '/x/bin');
    environment.clear();
    expect([...collection.values]).toEqual([['PATH', '...:/x/bin']]);
  });
});
