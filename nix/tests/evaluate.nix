# Evaluates ../module.nix without nixpkgs: with as much of its library as the module uses, written down here. It knows types,
# defaults and `mkIf`, and not more; what a real system makes of the result it cannot say.
#
#   nix-instantiate --eval --strict --json nix/tests/evaluate.nix --arg settings '{ enable = true; … }'
{ settings }:
let
  inherit (builtins)
    all
    attrNames
    attrValues
    filter
    isAttrs
    isBool
    isInt
    isList
    isPath
    isString
    listToAttrs
    mapAttrs
    ;
  fits = type: place: value: if type.check value then value else throw "${place}: not ${type.name}";
  kind = name: check: { inherit name check; };
  types = rec {
    bool = kind "a boolean" isBool;
    str = kind "a string" isString;
    path = kind "a path" (value: isPath value || (isString value && builtins.substring 0 1 value == "/"));
    package = kind "a package" (value: isAttrs value && value ? outPath);
    port = kind "a port" (value: isInt value && value >= 0 && value <= 65535);
    nullOr = type: kind "null or ${type.name}" (value: value == null || type.check value);
    listOf = type: kind "a list of ${type.name}" (value: isList value && all type.check value);
    attrsOf = type: kind "attributes of ${type.name}" (value: isAttrs value && all type.check (attrValues value));
  };
  lib = {
    inherit types;
    mkOption = option: option // { isOption = true; };
    mkEnableOption =
      what:
      lib.mkOption {
        type = types.bool;
        default = false;
        description = "Whether to enable ${what}.";
      };
    mkIf = condition: content: { inherit condition content; isIf = true; };
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
  };
  pkgs = {
    formats.toml = _: {
      type = kind "TOML" isAttrs;
      generate = name: value: "/generated/${name}";
    };
    runCommand = name: _: script: {
      inherit script;
      outPath = "/built/${name}";
    };
  };
  # What is conditional falls away, or takes its place.
  settle =
    value:
    if isAttrs value && value ? isIf then
      if value.condition then settle value.content else null
    else if isAttrs value && !(value ? outPath) then
      let
        settled = mapAttrs (_: settle) value;
        kept = filter (name: settled.${name} != null || value.${name} == null) (attrNames settled);
      in
      listToAttrs (map (name: { inherit name; value = settled.${name}; }) kept)
    else
      value;
  module = import ../module.nix {
    inherit lib pkgs;
    config.services.doorward = given;
  };
  known = module.options.services.doorward;
  strange = filter (name: !(known ? ${name})) (attrNames settings);
  given =
    if strange != [ ] then
      throw "no option ${builtins.head strange}"
    else
      mapAttrs (
        name: option:
        let
          value =
            settings.${name}
              or (if option ? default then option.default else throw "services.doorward.${name} is not set");
        in
        fits option.type "services.doorward.${name}" value
      ) known;
  config = settle module.config;
  broken = filter (one: !one.assertion) (config.assertions or [ ]);
in
if config == null then
  { }
else if broken != [ ] then
  throw (builtins.head broken).message
else
  # Every option is judged, used or not.
  builtins.deepSeq (removeAttrs given [ "package" ]) {
    settings = given.settings;
    script = config.environment.etc."doorward/routes.toml".source.script or null;
    ports = config.networking.firewall.allowedTCPPorts or [ ];
    users = config.users or { };
    unit = config.systemd.services.doorward // {
      reloadTriggers = map toString config.systemd.services.doorward.reloadTriggers;
    };
  }
