// The user has installed only the UI extension. Connect installs the companion from a
// gallery, or from the file in the package. If it cannot, it says at once what to do.
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { atGallery, openEditor, packages, packTest, raise, root, startGallery, startGateway, until } from './world.mjs';

const packed = packages();
const resources = [{ name: 'web', host: 'web.corp.test', ports: [80] }];
const manifest = path.join(root, 'extension/remote/package.json');

/** Whether the editor on cloud has the companion. */
function isInstalled(world) {
  const { extensionsDir } = world.info.editor;
  return (
    existsSync(extensionsDir) &&
    readdirSync(extensionsDir).some((name) => name.startsWith('causeway-dev.causeway-remote'))
  );
}

/** Raises a lab with the UI extension and a gallery. */
async function bring(web, galleryArgs) {
  const env = [atGallery];
  const settings = { 'causeway.resources': resources, 'extensions.verifySignature': false };
  const world = await raise({ extensions: [web], settings, env });
  const stub = await startGallery(world, galleryArgs);
  const gateway = startGateway(world, ['--origin', 'http://127.0.0.1:8080']);
  const editor = await openEditor(world);
  const [, token] = await gateway.says(/pairing token: (\S+)/);
  return {
    world,
    stub,
    gateway,
    editor,
    /** Pairs, which also connects. Resolves with the time at which that began. */
    async connect() {
      await editor.run('Causeway: Pair with a Token');
      await editor.type(token);
      gateway.says(/name +web[\s\S]*always\/once\/no/).then(
        () => gateway.answer('once'),
        () => {},
      );
      return Date.now();
    },
    installed: () => isInstalled(world),
    async close() {
      await editor.close();
      await gateway.close();
      stub.close();
      await world.close();
    },
  };
}

test('a gallery that answers 404 leads to a remedy within 5 s', { timeout: 300_000 }, async () => {
  const lab = await bring(packed.web, []);
  try {
    const began = await lab.connect();
    const said = await until('a remedy', async () => {
      const text = await lab.editor.notifications();
      return /could not be installed/.test(text) && text;
    });
    const took = Date.now() - began;
    assert.match(said, /causeway-remote-….vsix/);
    const buttons = await lab.editor.page.locator('.notification-list-item .monaco-button').allInnerTexts();
    assert.deepEqual(buttons.sort(), ['Install from VSIX…', 'Try Again']);
    await lab.editor.shot('companion-remedy');
    console.log(`the remedy was there after ${took} ms`);
    assert.ok(took < 5_000, `${took} ms`);
    assert.ok(!lab.installed());
  } finally {
    await lab.close();
  }
});

test('the companion comes from the gallery, and Connect goes on by itself', { timeout: 300_000 }, async () => {
  const lab = await bring(packed.web, [packed.remote, manifest]);
  try {
    const began = await lab.connect();
    // The editor may ask whether the publisher is trusted.
    const box = lab.editor.page.locator('.monaco-dialog-box');
    await until(
      () => `the companion is installed; the gallery was asked for ${lab.stub.log()}`,
      async () => {
        if (await box.isVisible())
          await box
            .locator('.monaco-button', { hasText: /Trust|Install/ })
            .first()
            .click();
        return lab.installed();
      },
    );
    await lab.editor.statusIs(/connected \(1 resource/);
    console.log(`connected ${Date.now() - began} ms after the token was given`);
    assert.equal(lab.world.must("curl -sS -o /dev/null -w '%{http_code}' http://web.corp.test/"), '200');
  } finally {
    await lab.close();
  }
});

test('the companion comes from the file that the package brought, without a gallery', {
  timeout: 300_000,
}, async () => {
  const desktop = packTest('ui-test-companion', ['--companion', packed.remote]);
  const world = await raise({
    extensions: [desktop],
    settings: { 'causeway.resources': resources },
    env: ['CAUSEWAY_HELPER=%HELPER%', atGallery],
  });
  const editor = await openEditor(world);
  try {
    await editor.run('Causeway: Connect');
    await editor.statusIs(/waiting for approval/);
    await editor.statusIs(/waiting for approval/);
    await editor.dialog(/Once/);
    await editor.statusIs(/connected \(1 resource/);
    assert.ok(isInstalled(world));
    assert.equal(world.must("curl -sS -o /dev/null -w '%{http_code}' http://web.corp.test/"), '200');
    await editor.run('Causeway: Disconnect');
    await editor.statusIs(/disconnected/);
  } finally {
    await editor.close();
    await world.close();
  }
});
