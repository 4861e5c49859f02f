// vscode-jsonrpc needs to know its platform; the entry points tell it in production.
import 'vscode-jsonrpc/node';
