// The protocol between a driver, here an extension, and its helper. flows.ts has the
// part that the panel uses. Its Go form is
// helper/internal/rpc/protocol.go. The tests of both read the messages in
// test/protocol.

import { NotificationType, RequestType, RequestType0 } from 'vscode-jsonrpc';

/** Versions of the protocol that this side speaks. */
export const PROTOCOL: Range = { min: 1, max: 1 };

export interface Range {
  min: number;
  max: number;
}

export const Code = {
  version: -32001,
  notInitialized: -32002,
  unauthorized: -32003,
  noSession: -32004,
  busy: -32005,
  notAllowed: -32006,
  cancelled: -32800,
} as const;

export interface InitializeParams {
  protocol: Range;
  client: { name: string; version: string };
  /** The pairing token; WebSocket only. */
  token?: string;
}

export interface InitializeResult {
  protocol: number;
  helper: HelperInfo;
}

export interface HelperInfo {
  version: string;
  role: 'gateway' | 'capture';
  os: string;
  arch: string;
  pid: number;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogMessage {
  level: LogLevel;
  message: string;
  fields?: Record<string, unknown>;
}

export interface LinkParams {
  kind: 'command' | 'exec';
}

/** A port on the loopback of the helper that receives the message. */
export interface DirectLink {
  port: number;
}

export interface LinkClosed {
  reason: string;
}

/** The lists and exits exactly as the settings have them: the gateway validates them. */
export interface ResourcesParams {
  resources?: unknown;
  workspaceResources?: unknown;
  exits?: unknown;
  /** Credentials of proxies, by URL: { user, password }. Never logged. */
  credentials?: unknown;
}

export interface GatewayOpenParams extends ResourcesParams {
  /** The remote, such as "ssh-remote+host". */
  authority: string;
  /** The URI of the workspace or its first folder; may be empty. */
  workspace: string;
  strictProxy?: boolean;
  /** Opens a new session even if one waits to be resumed. */
  fresh?: boolean;
  /** Fails with noSession if no session waits. */
  resumeOnly?: boolean;
  /** How long the session waits without a link or a driver, in seconds. */
  resumeSeconds?: number;
}

export interface GatewayOpenResult extends ResourcesResult {
  session: string;
  secret: string;
  resumed?: boolean;
}

export interface ResourcesResult {
  problems: Problem[];
  approvals: Approval[];
}

export interface Problem {
  path: string;
  line?: number;
  column?: number;
  message: string;
}

export interface Approval {
  id: string;
  from: 'user' | 'workspace';
  name: string;
  host: string;
  ports: string[];
  protocols: string[];
  addresses?: string[];
  as?: string;
  /** The exit's name and where it leads. */
  exit?: string;
  programs?: string[];
  description?: string;
  change: 'new' | 'changed';
  differences?: Difference[];
  /** Whole sentences. */
  warnings?: string[];
}

export interface Difference {
  field: string;
  was: string;
  is: string;
}

export type Decision = 'always' | 'once' | 'no';

export interface ApprovalAnswers {
  answers: { id: string; decision: Decision }[];
}

export interface GatewayStatus {
  state: 'waiting' | 'connected' | 'reconnecting' | 'closed';
  reason?: string;
  /** When the link was lost. */
  since?: string;
  link?: { kind: string; links?: number; rttMillis: number };
  flows: number;
  bytesUp: number;
  bytesDown: number;
  proxy?: string;
  resources: ResourceStatus[];
  notes?: string[];
  /** Whole sentences: what several resources have in common that do not work. */
  trouble?: string[];
}

/** Whether a resource works, as its last connection or test has shown. */
export interface Health {
  /** unknown: neither used nor tested yet, or a test cannot tell. */
  state: 'unknown' | 'works' | 'fails';
  /** The last step: resolve, judge, connect. */
  step?: string;
  detail?: string;
  hint?: string;
  /** How long all steps took. */
  millis?: number;
  /** When the state began. */
  since: string;
  /** When the last connection or test was. Absent: never. */
  checked?: string;
  /** GatewayStatus.trouble says why. */
  common?: boolean;
}

export interface ResourceStatus {
  name: string;
  host: string;
  ports: string[];
  as?: string;
  /** Only these programs may use the resource. Absent: all. */
  programs?: string[];
  /** file: the helper's own list, which its command line names. */
  from: 'user' | 'workspace' | 'file';
  state: 'pending' | 'denied' | 'ready' | 'trouble';
  served: string[];
  address?: string;
  note?: string;
  flows: number;
  bytesUp: number;
  bytesDown: number;
  lastError?: { time: string; code: string; reason: string };
  /** The programs that have flows, as the remote reports them: those with the most flows first, at most 16. */
  clients?: Client[];
  /** Absent unless the resource is approved. */
  health?: Health;
}

export interface Client {
  user: string;
  pid?: number;
  program?: string;
  flows: number;
}

/** A program that has flows to a resource. */
export interface ClientParams {
  resource: string;
  pid: number;
}

/** The program's command line, escaped; empty if the remote cannot tell. Show it, and store it nowhere. */
export interface ClientArguments {
  arguments: string;
}

export interface TestParams {
  resource: string;
  port?: number;
}

export interface TestResult {
  ok: boolean;
  steps: TestStep[];
}

export interface TestStep {
  step: string;
  ok: boolean;
  detail: string;
  hint?: string;
  millis: number;
}

export interface CaptureOpenParams {
  session: string;
  secret: string;
  /** Fails with noSession if the helper does not have the session. */
  resumed?: boolean;
  resumeSeconds?: number;
  /** Identifies the window: its waiting sessions end when another session begins. */
  window?: string;
  sources?: Sources;
  /** Network bridges of the remote whose containers reach the resources too. */
  bridges?: string[];
  /** The users of the remote who may reach the resources: one of USERS alone, or names of users. Absent means auto. */
  users?: string[];
}

export const MAX_BRIDGES = 8;
export const MAX_USERS = 16;

/** The words that stand for users. */
export const USERS = ['auto', 'mine', 'everyone'] as const;

export const SOURCES = ['names', 'dns', 'tun', 'proxy'] as const;
export const SOURCE_MODES = ['auto', 'on', 'off'] as const;

/** Which ways of capturing connections to use. Absent means auto: use it if it is available. */
export type Sources = { [source in (typeof SOURCES)[number]]?: (typeof SOURCE_MODES)[number] };

export interface CaptureStatus {
  state: 'waiting' | 'connected' | 'reconnecting' | 'closed';
  reason?: string;
  proxy?: string;
  noProxy?: string[];
  notes?: string[];
}

export const Initialize = new RequestType<InitializeParams, InitializeResult, void>('initialize');
export const SetLogLevel = new RequestType<{ level: LogLevel }, null, void>('log/setLevel');
export const SessionClose = new RequestType0<null, void>('session/close');
export const LinkOpen = new RequestType<LinkParams, null, void>('link/open');
export const LinkClose = new RequestType<LinkClosed, null, void>('link/close');
/** To the capture: returns a port that accepts direct links. */
export const LinkListen = new RequestType0<DirectLink, void>('link/listen');
/** To the gateway: keep direct links through this port. */
export const LinkDial = new RequestType<DirectLink, null, void>('link/dial');
export const GatewayOpen = new RequestType<GatewayOpenParams, GatewayOpenResult, void>('session/open');
export const CaptureOpen = new RequestType<CaptureOpenParams, null, void>('session/open');
export const SetResources = new RequestType<ResourcesParams, ResourcesResult, void>('resources/set');
export const AnswerApprovals = new RequestType<ApprovalAnswers, ResourcesResult, void>('approvals/answer');
export const TestResource = new RequestType<TestParams, TestResult, void>('resource/test');
/** Tests all approved resources that have one host, gently. */
export const CheckHealth = new RequestType0<GatewayStatus, void>('health/check');
export const GetClientArguments = new RequestType<ClientParams, ClientArguments, void>('client/arguments');
export const GetGatewayStatus = new RequestType0<GatewayStatus, void>('session/status');
export const GetCaptureStatus = new RequestType0<CaptureStatus, void>('session/status');

export const GatewayStatusChanged = new NotificationType<GatewayStatus>('session/statusChanged');
export const CaptureStatusChanged = new NotificationType<CaptureStatus>('session/statusChanged');
export const ApprovalsChanged = new NotificationType<ResourcesResult>('approvals/changed');
export const LinkClosedByHelper = new NotificationType<LinkClosed>('link/closed');
export const Log = new NotificationType<LogMessage>('log/message');
