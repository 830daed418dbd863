// What the pages say, in English and Japanese.
export const words = {
  en: {
    skip: "To the content", pages: "Pages", run: "Run", cluster: "Cluster", signin: "Sign in", signinHow: "On the machine of the coordinator, this prints a link that signs this browser in:",
    live: "live", away: "not connected; trying again", ended: "the run has ended", progress: "Progress of the run", zoom: "Drag across a chart to look closer; double click, or Escape, shows all again.",
    step: "Step", left: "Time left", loss: "Loss", margin: "Margin (log odds)", errors: "Error", winner: "winner", loser: "loser",
    gradient: "Gradient norm", rate: "Learning rate", throughput: "Items per second", state: "State", ranks: "Workers in the ring", of: (a, b) => `${a} of ${b}`,
    ringName: "The ring: who passes sums to whom", rank: "Rank", worker: "Worker", host: "Host", device: "Device", kernels: "Kernels", speed: "Items/s", share: "Share",
    join: "Add a worker", joinHow: "Run this on another machine that reaches this one. It holds a secret: who has it can join.", copy: "Copy", copied: "Copied",
    end: "End the run", endHow: "It ends at the next step, with a checkpoint, and can be continued.", stop: "Stop at the next step", sure: "Really stop? Press again",
    timeline: "What happened", none: "–", standby: "stands by", nothing: "Nothing yet.",
    worker_ready: e => `${e.node} is ready`, worker_gone: e => `${e.node} is gone`, generation_ends: e => `Generation ${e.generation} ends`,
    generation_formed: e => `Generation ${e.generation} of ${e.nodes?.length ?? 0}: ${(e.nodes ?? []).join(" → ")}`, training_goes_on: e => `Training goes on after ${Math.round(e.stood_ms ?? 0)} ms`,
    atStep: n => `step ${n}`, other: "日本語", chart: (name, from, to) => `${name}, steps ${from} to ${to}`,
  },
  ja: {
    skip: "本文へ", pages: "ページ", run: "学習", cluster: "クラスタ", signin: "サインイン", signinHow: "コーディネータのマシンで次を実行すると、このブラウザ用のリンクが表示されます。",
    live: "接続中", away: "切断。再接続しています", ended: "学習は終了しました", progress: "学習の進み", zoom: "グラフをドラッグすると拡大します。ダブルクリックか Esc で全体に戻ります。",
    step: "ステップ", left: "残り時間", loss: "損失", margin: "マージン(対数オッズ)", errors: "誤差", winner: "勝者", loser: "敗者",
    gradient: "勾配ノルム", rate: "学習率", throughput: "毎秒アイテム数", state: "状態", ranks: "リング内のワーカー", of: (a, b) => `${a} / ${b}`,
    ringName: "リング:和の受け渡しの順", rank: "ランク", worker: "ワーカー", host: "ホスト", device: "デバイス", kernels: "カーネル", speed: "アイテム/秒", share: "割合",
    join: "ワーカーを追加", joinHow: "このマシンに接続できる別のマシンで実行します。秘密の値を含み、知っている人は誰でも参加できます。", copy: "コピー", copied: "コピーしました",
    end: "学習を終える", endHow: "次のステップでチェックポイントを残して終わり、後で再開できます。", stop: "次のステップで停止", sure: "停止しますか?もう一度押してください",
    timeline: "出来事", none: "–", standby: "待機", nothing: "まだありません。",
    worker_ready: e => `${e.node} が準備完了`, worker_gone: e => `${e.node} がいなくなりました`, generation_ends: e => `世代 ${e.generation} が終了`,
    generation_formed: e => `世代 ${e.generation}(${e.nodes?.length ?? 0} 台): ${(e.nodes ?? []).join(" → ")}`, training_goes_on: e => `${Math.round(e.stood_ms ?? 0)} ms 後に学習を再開`,
    atStep: n => `ステップ ${n}`, other: "English", chart: (name, from, to) => `${name}、ステップ ${from} から ${to}`,
  },
};
