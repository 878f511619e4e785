# Doorward as a NixOS service. The file is given as it is (`configFile`) or as Nix values (`settings`), and is checked while
# the system is built: a faulty one never reaches the machine. A rebuild with a new file or a new version reloads: the running
# process reads the file, or hands over to the new program, and no connection is dropped.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkEnableOption
    mkIf
    mkOption
    types
    ;
  cfg = config.services.doorward;
  toml = pkgs.formats.toml { };
  written = if cfg.configFile != null then cfg.configFile else toml.generate "routes.toml" cfg.settings;
  checked =
    if cfg.checkConfig then
      pkgs.runCommand "routes.toml" { } ''
        ${cfg.package}/bin/doorward check ${written}
        cp ${written} $out
      ''
    else
      written;
  handsOn = cfg.exportFolders != [ ];
in
{
  options.services.doorward = {
    enable = mkEnableOption "Doorward, a reverse proxy and TLS edge gateway";
    package = mkOption {
      type = types.package;
      description = "The program.";
    };
    configFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = "routes.toml as a file. Either this or `settings`.";
    };
    settings = mkOption {
      type = toml.type;
      default = { };
      example = {
        domain = "home.example.com";
        allow = [ "lan" ];
        networks.lan = [ "192.168.1.0/24" ];
        listen.main = {
          https = ":443";
          http = ":80";
        };
        routes.films = "http://192.168.1.20:8096";
      };
      description = "The content of routes.toml as Nix values. The order of a route's `paths` is that of their names.";
    };
    checkConfig = mkOption {
      type = types.bool;
      default = true;
      description = "Run `doorward check` while the system is built.";
    };
    credentials = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        cloudflare-token = "/run/secrets/cloudflare-token";
      };
      description = "Secrets: the file says `/run/credentials/doorward.service/NAME`, and systemd reads this path as root.";
    };
    exportFolders = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "/mnt/shared-certs" ];
      description = "Folders that `export` writes to. With one, the service has a user of its own, the same on every boot.";
    };
    groups = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Further groups: of exported files. Not `docker`: who may use docker.sock is root.";
    };
    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Open `ports` to everybody who can reach this machine.";
    };
    ports = mkOption {
      type = types.listOf types.port;
      default = [
        80
        443
      ];
      description = "What `openFirewall` opens.";
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = (cfg.configFile != null) != (cfg.settings != { });
        message = "services.doorward: give either `configFile` or `settings`";
      }
    ];
    environment.etc."doorward/routes.toml".source = checked;
    environment.systemPackages = [ cfg.package ];
    networking.firewall.allowedTCPPorts = mkIf cfg.openFirewall cfg.ports;
    users = mkIf handsOn {
      users.doorward = {
        isSystemUser = true;
        group = "doorward";
      };
      groups.doorward = { };
    };
    systemd.services.doorward = {
      description = "Doorward, the edge gateway of this house";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      wantedBy = [ "multi-user.target" ];
      # Never given up: a file that is mended, an address that comes late, are found the second they are there.
      startLimitIntervalSec = 0;
      # A new file or a new program is put in force by a reload; the unit itself changes only with these options.
      reloadTriggers = [
        checked
        cfg.package
      ];
      stopIfChanged = false;
      # By default the unit would name the store paths of coreutils and others here, which change with every update of the
      # system: each would be a restart. What a command of `export` or of `dns = "exec"` calls is found in the system's own.
      enableDefaultPath = false;
      environment.PATH = "/run/wrappers/bin:/run/current-system/sw/bin";
      serviceConfig = {
        Type = "notify";
        NotifyAccess = "main";
        # A path that stays, so that a new version changes no line of the unit.
        ExecStart = "/run/current-system/sw/bin/doorward run --config /etc/doorward/routes.toml";
        ExecReload = "/run/current-system/sw/bin/doorward reload";
        WatchdogSec = 30;
        FileDescriptorStoreMax = 64;
        Restart = "on-failure";
        RestartSec = 1;
        RestartPreventExitStatus = 2;
        TimeoutStartSec = 90;
        TimeoutStopSec = 60;
        LimitNOFILE = 1048576;
        User = "doorward";
        DynamicUser = !handsOn;
        StateDirectory = "doorward";
        StateDirectoryMode = "0700";
        RuntimeDirectory = "doorward";
        RuntimeDirectoryMode = "0755";
        SupplementaryGroups = cfg.groups;
        ReadWritePaths = cfg.exportFolders;
        LoadCredential = lib.mapAttrsToList (name: path: "${name}:${path}") cfg.credentials;
        AmbientCapabilities = [ "CAP_NET_BIND_SERVICE" ];
        CapabilityBoundingSet = [ "CAP_NET_BIND_SERVICE" ];
        NoNewPrivileges = true;
        UMask = "0077";
        ProtectSystem = "strict";
        ProtectHome = true;
        PrivateTmp = true;
        PrivateDevices = true;
        ProtectProc = "invisible";
        ProcSubset = "pid";
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_UNIX"
          "AF_NETLINK"
        ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        RemoveIPC = true;
        SystemCallArchitectures = "native";
        SystemCallFilter = [
          "@system-service"
          "~@privileged @resources"
          "prlimit64 setrlimit @chown"
        ];
        SystemCallErrorNumber = "EPERM";
      };
    };
  };
}
