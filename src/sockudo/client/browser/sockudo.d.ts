/** What a backend signs for a channel. */
export interface ChannelAuthorization {
	auth: string;
	channel_data?: string;
	shared_secret?: string;
}
/** What a backend signs for a user. */
export interface UserAuthentication {
	auth: string;
	user_data: string;
}
type AuthCallback<Answer> = (error: Error | null, answer: Answer | null) => void;
type Text$1 = Record<string, string>;
export interface Endpoint<Request, Answer> {
	endpoint?: string;
	transport?: string;
	params?: Record<string, unknown>;
	headers?: Text$1;
	paramsProvider?: () => Record<string, unknown>;
	headersProvider?: () => Text$1;
	/** In place of the endpoint. */
	customHandler?: (request: Request, callback: AuthCallback<Answer>) => void;
}
export interface ChannelRequest {
	socketId: string;
	channelName: string;
}
export interface AuthOptions {
	channelAuthorization?: Endpoint<ChannelRequest, ChannelAuthorization>;
	userAuthentication?: Endpoint<{
		socketId: string;
	}, UserAuthentication>;
	/** `batch`: all channels asked for within a moment are authorized with one request (docs/browser.md). */
	authorize?: {
		batch?: boolean;
	};
	/** Names of pusher-js before version 7.1. */
	authEndpoint?: string;
	auth?: {
		params?: Record<string, unknown>;
		headers?: Text$1;
	};
	authorizer?: (channel: {
		name: string;
	}, options: unknown) => {
		authorize(socketId: string, callback: AuthCallback<ChannelAuthorization>): void;
	};
}
declare class Signatures {
	#private;
	private readonly options;
	constructor(options: AuthOptions);
	channel(socketId: string, name: string): Promise<ChannelAuthorization>;
	user(socketId: string): Promise<UserAuthentication>;
}
interface Frame {
	event: string;
	channel?: string;
	data?: any;
	name?: string;
	user_id?: string;
	tags?: Record<string, string>;
	message_id?: string;
	stream_id?: string;
	serial?: number;
	extras?: Record<string, unknown>;
	__delta_seq?: number;
	__conflation_key?: string;
}
interface Format {
	encode(frame: Frame): string | Uint8Array<ArrayBuffer>;
	decode(payload: unknown): Frame;
}
/** What a message carries beside its data: the frame as it came. */
export type Metadata = Readonly<Frame>;
export type Listener = (data: any, metadata?: Metadata) => void;
export type GlobalListener = (event: string, data: any, metadata?: Metadata) => void;
declare class Emitter {
	#private;
	bind(event: string, callback: Listener, context?: unknown): this;
	/** Takes away the bindings that all given arguments fit; without any, all. */
	unbind(event?: string | null, callback?: Listener | null, context?: unknown): this;
	bind_global(callback: GlobalListener, context?: unknown): this;
	unbind_global(callback?: GlobalListener): this;
	unbind_all(): this;
	emit(event: string, data?: unknown, metadata?: Metadata): this;
	/** The data of the next such event. */
	next<Data = any>(event: string): Promise<Data>;
}
/** Why something was refused or has ended. */
export declare class SockudoError extends Error {
	readonly code: number;
	readonly channel?: string | undefined;
	/** `code` is the server's; an HTTP status of a backend; 1006 when the line broke; 0 when the client itself refuses. */
	constructor(code: number, message: string, channel?: string | undefined);
	get name(): string;
	/** Its row in the server's catalogue of errors: what `sockudo explain` takes. Empty where it has none. */
	get entry(): string;
	get docs(): string;
	/** As pusher-js has it: `{code, message}`. */
	get data(): {
		code: number;
		message: string;
	};
}
export interface HistoryOptions {
	/** Messages of one page; the server has a bound of its own. */
	limit?: number;
	direction?: "newest_first" | "oldest_first";
	/** Only up to the attach serial: joined to what came live, nothing is missing or double. */
	until_attach?: boolean;
	start_serial?: number;
	end_serial?: number;
	start_time_ms?: number;
	end_time_ms?: number;
	cursor?: string;
}
/** A message of the past. */
export interface PastMessage {
	event: string;
	data: any;
	serial: number;
	stream_id: string;
	message_id?: string;
	published_at_ms: number;
	tags?: Record<string, string>;
	extras?: Record<string, unknown>;
	user_id?: string;
}
export interface HistoryPage {
	messages: PastMessage[];
	has_more: boolean;
	next_cursor: string | null;
	continuity: {
		complete: boolean;
		truncated_by_retention: boolean;
		[name: string]: unknown;
	};
}
/** The past of a channel, page by page as it is read: `for await (const message of channel.history())`. */
declare class History$1 implements AsyncIterable<PastMessage> {
	readonly channel: string;
	private readonly options;
	private readonly ask;
	constructor(channel: string, options: HistoryOptions, ask: (request: Record<string, unknown>) => Promise<any>);
	page(cursor?: string | undefined): Promise<HistoryPage>;
	pages(): AsyncGenerator<HistoryPage, void, void>;
	[Symbol.asyncIterator](): AsyncGenerator<PastMessage, void, void>;
}
export type State = "initialized" | "connecting" | "connected" | "unavailable" | "failed" | "disconnected";
export interface StateChange {
	previous: State;
	current: State;
	/** What ended the last connection, if anything did. */
	error?: SockudoError;
}
interface Socket {
	binaryType: string;
	onmessage: ((event: {
		data: any;
	}) => void) | null;
	onclose: ((event: {
		code: number;
		reason: string;
	}) => void) | null;
	onerror: ((event: any) => void) | null;
	send(payload: string | Uint8Array<ArrayBuffer>): void;
	close(code?: number): void;
}
type SocketConstructor = new (url: string) => Socket;
interface Prepared {
	url: string;
	format: Format;
	Socket: SocketConstructor;
}
interface Timing {
	/** Milliseconds of silence after which the server is pinged; never more than the server asks for. */
	activityTimeout: number;
	/** What an answer to that ping may take. */
	pongTimeout: number;
	/** What connecting may take before it is tried anew. */
	connectTimeout: number;
	/** After which the state is `unavailable`; it is tried all the same. */
	unavailableTimeout: number;
	/** Bounds of the time between two tries. */
	minReconnectDelay: number;
	maxReconnectDelay: number;
}
/**
 * One connection that is kept: it connects, notices when the line is dead, and comes back as the close codes ask for.
 * Emits `state_change`, the name of each state, `connecting_in`, `message` for every frame and `error`.
 */
export declare class Connection extends Emitter {
	#private;
	private readonly prepare;
	private readonly timing;
	/** Gets every frame; what it throws is the frame's fault. */
	private readonly read;
	/** Whether a refusal of the connection may be answered with another try, as with a new token. */
	private readonly mayRetry;
	state: State;
	socket_id: string | undefined;
	/** Why the last connection ended or was refused; it stays until there is another reason. */
	last_error: SockudoError | null;
	constructor(prepare: () => Promise<Prepared>, timing: Timing, 
	/** Gets every frame; what it throws is the frame's fault. */
	read: (frame: Frame) => void, 
	/** Whether a refusal of the connection may be answered with another try, as with a new token. */
	mayRetry: (error: SockudoError) => boolean);
	connect(): void;
	disconnect(): void;
	/** False when there is no connection to send it on. */
	send(frame: Frame): boolean;
	/** The network or the page is back: now is the moment to try, or to see whether the line still works. */
	wake(): void;
	/** The network is gone, as far as the system knows. */
	offline(): void;
	/** The page is put aside, and may come back: a browser keeps only pages without a connection. */
	suspend(): void;
}
/** A place in the stream of a channel: everything up to and including the message with this serial. */
export interface Position {
	stream_id: string;
	serial: number;
}
/** Nothing is missing: what was missed has been delivered. */
export interface Recovered {
	channel: string;
	count: number;
	source: "hot" | "cold";
}
/** Something may be missing: fetch anew what is shown of the channel. */
export interface Gap {
	channel: string;
	code: string;
	reason: string;
	message?: string;
}
type Outcome = {
	name: "recovered";
	data: Omit<Recovered, "channel">;
} | {
	name: "gap";
	data: Omit<Gap, "channel">;
};
declare class Track {
	#private;
	readonly isCache: boolean;
	/** Where the next resume goes on from; null when that is not known. */
	place: Position | null;
	/** What the application is to be told once the channel is subscribed. */
	due: Outcome | null;
	/** Whether a resume was asked for on this connection and has no answer yet. */
	asked: boolean;
	constructor(isCache: boolean, place?: Position | null);
	/** A new connection; `holding` when the subscribe is sent before the resume. */
	reconnected(holding: boolean): void;
	acknowledged(place: Position | null, rewinding: boolean): void;
	rewound(): void;
	/** Whether the application is to get this message now. */
	accepts(frame: Frame): boolean;
	/** The resume has an answer: what was held behind it, in order. */
	release(): Frame[];
	recovered(count: number, source: "hot" | "cold", position: Position | null): void;
	lost(why: Omit<Gap, "channel">): void;
}
/** What positions are kept in: `sessionStorage`, `localStorage` or an object with these methods. */
export interface PositionStore {
	getItem(key: string): string | null;
	setItem(key: string, value: string): void;
}
type TokenProvider = string | (() => string | Promise<string>);
export type DeltaChoice = boolean | "fossil" | "xdelta3";
/** The connection; names that pusher-js has mean what they mean there. */
export interface Options extends AuthOptions, Partial<Timing> {
	/** The server, as in `https://realtime.example.com`; by default where the script came from, else the page. */
	url?: string;
	wsHost?: string;
	httpHost?: string;
	wsPort?: number;
	wssPort?: number;
	wsPath?: string;
	forceTLS?: boolean;
	/** Ignored, like `enabledTransports`, `disabledTransports`, `enableStats` and `disableStats`: there is one transport. */
	cluster?: string;
	enabledTransports?: string[];
	disabledTransports?: string[];
	enableStats?: boolean;
	disableStats?: boolean;
	/** Connect only when `connect()` is called. */
	manual?: boolean;
	/** How frames look on the wire; the binary ones are loaded when they are asked for. */
	format?: "json" | "msgpack" | "protobuf";
	/** Whether this client hears its own client events; by default as the server is configured. */
	echo?: boolean;
	/** Ask for messages as differences, on all channels. */
	delta?: DeltaChoice;
	/** A capability token, or what gives one: asked for at each connect, and before the token ends. */
	token?: TokenProvider;
	/** `false`: nothing is asked for after a reconnect. */
	recovery?: boolean;
	/** One connection for all tabs of the origin that ask for the same app with the same options. */
	share?: boolean;
	/** Positions outlive the page: in `sessionStorage`, or in what is given. */
	positions?: "session" | PositionStore;
	/** Backends that pass questions on to the server's HTTP API (docs/browser.md). */
	publishing?: Backend;
	presenceHistory?: Backend;
	/** A WebSocket class, where the platform has none. */
	WebSocket?: SocketConstructor;
	/** Parts that are loaded on demand, for places where `import()` cannot be used, such as service workers. */
	parts?: Partial<Parts>;
}
interface Backend {
	endpoint: string;
	headers?: Record<string, string>;
}
interface Parts {
	binary: {
		msgpack: Format;
		protobuf: Format;
	};
	deltas: {
		Deltas: new () => {
			read(frame: Frame, payload: unknown): Frame;
		};
	};
	encryption: {
		open(data: {
			nonce: string;
			ciphertext: string;
		}, secret: string): string | null;
	};
	node: {
		NodeSocket: SocketConstructor;
	};
	share: {
		share(upstream: Prepared, room: object): Prepared;
	};
}
/** Part of a subscribe on protocol V2. */
export interface SubscribeOptions {
	/** Begin with earlier messages: the last ones, or those of the last seconds. */
	rewind?: number | {
		count: number;
	} | {
		seconds: number;
	};
	/** Only some messages (docs/filters-and-deltas.md). */
	filter?: Filter;
	delta?: DeltaChoice;
	/** Where to go on from, in place of what this client knows. */
	position?: Position;
}
export type Filter = {
	events?: string[];
	tags?: TagFilter;
	expression?: string;
} | TagFilter;
export type TagFilter = {
	op: "and" | "or" | "not";
	nodes: TagFilter[];
} | {
	key: string;
	cmp: "eq" | "neq" | "sw" | "ew" | "ct" | "gt" | "gte" | "lt" | "lte";
	val: string | number | boolean;
} | {
	key: string;
	cmp: "in" | "nin";
	vals: (string | number | boolean)[];
} | {
	key: string;
	cmp: "ex" | "nex";
};
export interface Member<Info = any> {
	id: string;
	info: Info;
}
/** Who is on a presence channel. */
export declare class Members {
	members: Record<string, any>;
	count: number;
	myID: string | undefined;
	get me(): Member | null;
	get(id: string): Member | null;
	each(callback: (member: Member) => void): void;
	/** @internal */
	replace(presence: any): void;
	/** @internal */
	add({ user_id: id, user_info: info }: any): Member;
	/** @internal */
	update(data: any): Member | null;
	/** @internal */
	remove({ user_id: id }: any): Member | null;
}
declare class User extends Emitter {
	signin_requested: boolean;
	user_data: any;
	/** Settled by the sign-in that is under way. */
	signinDonePromise: Promise<any> | null;
	/** `online` and `offline`, with `{user_ids}`. */
	readonly watchlist: Emitter;
}
export declare const VERSION = "0.1.0";
/** A client of one app: `new Sockudo(key, options)` connects at once, and stays connected until `disconnect()`. */
export declare class Sockudo extends Emitter {
	#private;
	readonly key: string;
	readonly config: Options;
	static readonly VERSION = "0.1.0";
	static readonly instances: Sockudo[];
	readonly connection: Connection;
	readonly user: User;
	/** All that is subscribed to, by name. */
	readonly channels: {
		all: () => Channel[];
		find: (name: string) => Channel | undefined;
	};
	/** @internal */
	readonly signatures: Signatures;
	constructor(key: string, config?: Options);
	connect(): void;
	disconnect(): void;
	/** The socket id, once there is a connection; throws when the server does not want this client. */
	connected(): Promise<string>;
	/** Sends a frame. False when there is no connection to send it on. */
	send_event(event: string, data: unknown, channel?: string): boolean;
	channel(name: string): Channel | undefined;
	allChannels(): Channel[];
	/** The channel, whose subscription is asked for; `await channel.subscribed()` waits for it. */
	subscribe(name: string, options?: SubscribeOptions): Channel;
	unsubscribe(name: string): void;
	subscribeAll(): void;
	/** @internal */
	decrypt(data: unknown, key: string | undefined): string | null;
	/** @internal */
	publish(channel: Channel, event: string, data: unknown, { idempotencyKey }: PublishOptions): Promise<unknown>;
	/** @internal */
	updateMember(channel: Channel, info: unknown): Promise<void>;
	/** @internal One question at a time: the server takes two, and answers name the channel alone. */
	askHistory(channel: Channel, request: Record<string, unknown>): Promise<any>;
	/** @internal */
	askPresence(channel: string, action: string, params: Record<string, unknown>): Promise<any>;
	/** Signs in as the user that the app's backend vouches for, now and on every connection. */
	signin(): Promise<any>;
}
export type Subscription = "idle" | "pending" | "subscribed" | "refused";
/** What a publish is answered with. */
export interface PublishOptions {
	/** Names the publish: sent again under the same key, it is delivered once. */
	idempotencyKey?: string;
}
/** One channel, whatever its kind. `pusher.subscribe(name)` makes it. */
export declare class Channel extends Emitter {
	#private;
	readonly name: string;
	readonly pusher: Sockudo;
	options: SubscribeOptions;
	state: Subscription;
	/** Connections that are subscribed, where the app has counts switched on. */
	subscription_count: number | undefined;
	/** Why the last subscribe was refused. */
	last_error: SockudoError | null;
	/** The head of the stream when the subscription began: the past has serials up to it. */
	attach_serial: number | undefined;
	/** Who is on a presence channel; empty on others. */
	readonly members: Members;
	readonly isProtected: boolean;
	/** @internal */
	readonly track: Track;
	/** @internal */
	readonly pattern: RegExp | null;
	/** @internal */
	tries: number;
	constructor(name: string, pusher: Sockudo, options: SubscribeOptions, place: Position | null);
	get isPresence(): boolean;
	get isEncrypted(): boolean;
	/** @internal Names of pusher-js. */
	get subscriptionPending(): boolean;
	/** The place of the newest message: where another client could go on from. */
	get position(): Position | null;
	/** Once the server has acknowledged the subscription; throws `SockudoError` when it is refused. */
	subscribed(): Promise<this>;
	/** Subscribes again, with other options if any are given: a filter that changes. */
	subscribe(options?: SubscribeOptions): this;
	unsubscribe(): void;
	/** Sends a client event to the others. False when it cannot be sent now. */
	trigger(event: string, data: unknown): boolean;
	/**
	 * The same, and waits until the server has taken it; throws the refusal. With the option `publishing` any event may be
	 * published: the app's backend is asked, and asked again under the same key until it has answered.
	 */
	publish(event: string, data: unknown, options?: PublishOptions): Promise<unknown>;
	/** The messages that the server keeps, newest first unless asked otherwise. */
	history(options?: HistoryOptions): History$1;
	/** Who came and went, as the app's backend passes it on: the option `presenceHistory`. */
	presenceHistory(params?: Record<string, unknown>): Promise<any>;
	/** Who was there at a time or serial. */
	presenceSnapshot(params?: Record<string, unknown>): Promise<any>;
	/** Replaces what the others see of this member. */
	update(info: unknown): Promise<void>;
	/** @internal Signed by the app's backend; the data of the subscribe. */
	authorize(socketId: string): Promise<Record<string, string>>;
	/** @internal One message of the application or event of the channel. */
	handle(frame: Frame): void;
	/** @internal */
	refuse(error: SockudoError): void;
	/** @internal The connection is gone, and the subscription with it. */
	lose(): void;
}

export {
	History$1 as History,
	Sockudo as Pusher,
	Sockudo as default,
};

export {};
